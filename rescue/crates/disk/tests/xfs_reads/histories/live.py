"""Does random things below a directory: ROOT SEED COUNT IMAGE OUT. The image below it is copied as it is, now and then: a machine that is
cut off then would find that."""
import os
import random
import subprocess
import sys

root, seed, count, image, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
r = random.Random(seed)
os.chdir(root)
dirs, files, made, shots = ['.'], [], 0, 0


def name():
    global made
    made += 1
    return 'n%d-%s' % (made, 'x' * r.randrange(60))


def fresh():
    return os.path.join(r.choice(dirs), name())


def write():
    path = fresh()
    with open(path, 'wb') as f:
        for _ in range(r.randrange(1, 6)):
            f.seek(r.randrange(400000))
            f.write(r.randbytes(8) * r.randrange(1, 2000))
    files.append(path)


def mkdir():
    path = fresh()
    os.mkdir(path)
    dirs.append(path)


def unlink():
    os.unlink(files.pop(r.randrange(len(files))))


def truncate():
    os.truncate(r.choice(files), r.randrange(300000))


def rename():
    path, to = r.choice(files), fresh()
    os.rename(path, to)
    files.remove(path)
    files.append(to)


def attribute():
    os.setxattr(r.choice(files), 'user.%d' % r.randrange(40), r.randbytes(r.choice([5, 50, 500, 5000])))


def no_attribute():
    path = r.choice(files)
    names = os.listxattr(path)
    if names:
        os.removexattr(path, r.choice(names))


def symlink():
    path = fresh()
    os.symlink('t' * r.choice([10, 200, 900]), path)
    files.append(path)


def link():
    path = fresh()
    os.link(r.choice(files), path)
    files.append(path)


def many():
    dir = fresh()
    os.mkdir(dir)
    new = [os.path.join(dir, name()) for _ in range(r.randrange(50, 300))]
    for path in new:
        open(path, 'w').close()
    if r.random() < .6:
        for path in new:
            os.unlink(path)
        os.rmdir(dir)
    else:
        dirs.append(dir)
        files.extend(new)


def times():
    path = r.choice(files)
    if not os.path.islink(path):
        os.chmod(path, r.randrange(0o10000))
        os.utime(path, (r.randrange(2**31), r.randrange(2**31)))


def reshape():
    path = r.choice(files)
    if not os.path.islink(path):
        share = 'reflink %s 0 0 100k' % r.choice(files)
        punch = 'fpunch %dk %dk' % (r.randrange(200), r.randrange(1, 100))
        subprocess.run(['xfs_io', '-c', r.choice([share, punch]), path], capture_output=True)


def copy():
    global shots
    if shots < 4:
        if r.random() < .5:
            fd = os.open('.', os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
        subprocess.run(['cp', '--sparse=always', image, '%s.%d.img' % (out, shots)], check=True)
        shots += 1


WHAT = [(write, 30), (mkdir, 6), (unlink, 20), (truncate, 6), (rename, 6), (attribute, 8), (no_attribute, 4), (symlink, 4), (link, 3),
        (many, 3), (times, 2), (reshape, 3), (os.sync, 2), (copy, 1)]
for _ in range(count):
    what = r.choices([f for f, _ in WHAT], [w for _, w in WHAT])[0]
    try:
        (write if len(files) < 5 else what)()
    except OSError:
        # Full, or in use by another: room is made.
        for _ in range(len(files) // 4):
            try:
                os.unlink(files.pop())
            except OSError:
                pass
