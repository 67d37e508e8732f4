"""Does random things below a directory, some of them in place: ROOT SEED first|some|place|many."""
import mmap
import os
import random
import subprocess
import sys

root, seed, what = sys.argv[1], int(sys.argv[2]), sys.argv[3]
r = random.Random(seed * 10 + len(what))
os.chdir(root)


def any_file():
    return r.choice(sorted(name for name in os.listdir('.') if os.path.isfile(name)))


def fresh():
    return 'n%d' % r.randrange(1 << 40)


def new():
    with open(fresh(), 'wb') as f:
        f.write(r.randbytes(r.randrange(1, 300000)))


def overwrite():
    """In place, within what is there; on the disk when it returns, with or without the times."""
    name = any_file()
    size = os.path.getsize(name)
    with open(name, 'r+b') as f:
        f.seek(r.randrange(max(size, 1)))
        f.write(r.randbytes(min(size, r.randrange(1, 9000))))
        f.flush()
        if r.random() < .7:
            os.fdatasync(f.fileno())


def direct():
    name = any_file()
    blocks = os.path.getsize(name) // 4096
    if not blocks:
        return
    fd = os.open(name, os.O_RDWR | os.O_DIRECT)
    page = mmap.mmap(-1, 4096)
    page.write(r.randbytes(4096))
    os.pwrite(fd, page, r.randrange(blocks) * 4096)
    os.close(fd)


def mapped():
    name = any_file()
    if os.path.getsize(name) > 4096:
        with open(name, 'r+b') as f, mmap.mmap(f.fileno(), 4096) as m:
            m[:100] = r.randbytes(100)
            if r.random() < .5:
                m.flush()


def set_back():
    name = any_file()
    was = os.stat(name)
    overwrite_of(name)
    os.utime(name, ns=(was.st_atime_ns, was.st_mtime_ns))


def overwrite_of(name):
    with open(name, 'r+b') as f:
        f.write(r.randbytes(min(os.path.getsize(name), 5000)))


def append():
    with open(any_file(), 'ab') as f:
        f.write(r.randbytes(r.randrange(1, 50000)))


def truncate():
    os.truncate(any_file(), r.randrange(200000))


def remove():
    os.unlink(any_file())


def rename():
    os.rename(any_file(), fresh())


def read():
    with open(any_file(), 'rb') as f:
        f.read()


def chmod():
    os.chmod(any_file(), r.randrange(0o1000))


def shape():
    share = 'reflink %s' % any_file()
    punch = 'fpunch %dk %dk' % (r.randrange(100), r.randrange(1, 60))
    zero = 'fzero %dk %dk' % (r.randrange(100), r.randrange(1, 60))
    alloc = 'falloc -k 0 %dk' % r.randrange(1, 400)
    subprocess.run(['xfs_io', '-c', r.choice([share, punch, zero, alloc]), any_file()], capture_output=True)


def islands():
    with open(fresh(), 'wb') as f:
        for i in range(r.randrange(5, 80)):
            f.seek(i * 12288)
            f.write(r.randbytes(4096))
            if i % 7 == 0:
                f.flush()
                os.fsync(f.fileno())


def many():
    for _ in range(40):
        names = [fresh() for _ in range(120)]
        for name in names:
            with open(name, 'w') as f:
                f.write(name)
        os.sync()
        for name in names:
            os.unlink(name)
        os.sync()


WHAT = [(new, 4), (overwrite, 6), (direct, 6), (mapped, 4), (set_back, 4), (append, 3), (truncate, 2), (remove, 3), (rename, 2), (read, 6),
        (chmod, 2), (shape, 5), (islands, 1), (os.sync, 1)]
if what == 'first':
    for _ in range(60):
        new()
    for _ in range(4):
        islands()
elif what == 'many':
    many()
else:
    acts = [(f, w) for f, w in WHAT if what == 'some' or f in (overwrite, direct, mapped)]
    for _ in range(r.randrange(3, 25)):
        try:
            r.choices([f for f, _ in acts], [w for _, w in acts])[0]()
        except OSError:
            # Full, or one of two that cannot share: nothing is lost by it.
            pass
