# What a kernel shows of a file system, and what xfs_db finds free in it; for the scripts below this directory.

# What there is below $mnt: one line each.
list() {
    python3 - "$mnt" <<'P'
import hashlib, os, stat, sys
root = sys.argv[1].encode()
for at, dirs, files in sorted(os.walk(root)):
    for path in [at] if at == root else []:
        names = [b'']
    for name in sorted(dirs + files) + ([b''] if at == root else []):
        path = os.path.join(at, name) if name else at
        s = os.lstat(path)
        shown = path[len(root):] or b'/'
        kind = {stat.S_IFREG: 'f', stat.S_IFDIR: 'd', stat.S_IFLNK: 'l'}.get(stat.S_IFMT(s.st_mode), 's')
        what = '-'
        if kind == 'f':
            what = hashlib.sha256(open(path, 'rb').read()).hexdigest()
        if kind == 'l':
            what = hashlib.sha256(os.readlink(path)).hexdigest()
        xattrs = []
        for key in sorted(os.listxattr(path, follow_symlinks=False)):
            if not key.startswith('trusted.SGI_ACL'):
                xattrs.append(key.encode() + b'=' + os.getxattr(path, key, follow_symlinks=False) + b'\n')
        size = s.st_size if kind in 'fl' else 0
        device = f'{os.major(s.st_rdev)}:{os.minor(s.st_rdev)}' if stat.S_ISCHR(s.st_mode) or stat.S_ISBLK(s.st_mode) else '-'
        print(shown.decode(), kind, oct(s.st_mode), s.st_uid, s.st_gid, s.st_nlink, size, s.st_mtime_ns, device, what,
              f'{len(xattrs)}:{hashlib.sha256(b"".join(xattrs)).hexdigest()}')
P
}

# Group, first block and length of every free run, those of the free lists too; then how many blocks are free without these.
free_runs() { # IMAGE
    xfs_db -r -c 'freesp -d' "$1" | awk '$1 ~ /^[0-9]+$/ && NF == 3 {print $1, $2, $3}'
    for ag in 0 1 2; do xfs_db -r -c "agf $ag" -c 'print freeblks' "$1"; done
}
