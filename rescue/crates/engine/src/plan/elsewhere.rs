//! State that has its other half elsewhere, and so dislikes going back: keys that a TPM gives to the boot chain it knows, passwords that a
//! directory server knows too, data that others hold copies of.

use model::inspection::{Content, Inspection};

/// What a path in a saved system stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A member of a directory: Active Directory, FreeIPA, another Kerberos realm.
    Member,
    /// Data of a database server, which may replicate.
    Database,
    /// A voter in a cluster, whose others count on what it confirmed.
    Voter,
    /// Containers and virtual machines, with data of their own in them.
    Guests,
}

/// A path, whose it is, and what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// As the system has it.
    pub path: &'static str,
    /// The program whose it is.
    pub of: &'static str,
    /// What it stands for.
    pub kind: Kind,
}

const fn mark(kind: Kind, of: &'static str, path: &'static str) -> Mark {
    Mark { path, of, kind }
}

/// Where distributions and the programs' own packages keep them.
pub const MARKS: [Mark; 24] = [
    mark(Kind::Member, "Kerberos", "/etc/krb5.keytab"),
    mark(Kind::Member, "SSSD", "/etc/sssd/sssd.conf"),
    mark(Kind::Member, "Samba", "/var/lib/samba/private/secrets.tdb"),
    mark(Kind::Database, "PostgreSQL", "/var/lib/postgresql"),
    mark(Kind::Database, "PostgreSQL", "/var/lib/pgsql/data"),
    mark(Kind::Database, "MySQL or MariaDB", "/var/lib/mysql/ibdata1"),
    mark(Kind::Database, "MongoDB", "/var/lib/mongodb/WiredTiger"),
    mark(Kind::Database, "MongoDB", "/var/lib/mongo/WiredTiger"),
    mark(Kind::Voter, "Galera", "/var/lib/mysql/grastate.dat"),
    mark(Kind::Voter, "etcd", "/var/lib/etcd/member"),
    mark(Kind::Voter, "etcd", "/var/lib/etcd/default"),
    mark(Kind::Voter, "k3s", "/var/lib/rancher/k3s/server/db"),
    mark(Kind::Voter, "Ceph", "/var/lib/ceph/mon"),
    mark(Kind::Voter, "Ceph", "/var/lib/ceph/osd"),
    mark(Kind::Voter, "Consul", "/var/lib/consul/raft"),
    mark(Kind::Voter, "Proxmox VE", "/var/lib/pve-cluster/config.db"),
    mark(Kind::Voter, "Corosync", "/etc/corosync/corosync.conf"),
    mark(Kind::Guests, "Docker", "/var/lib/docker/volumes"),
    mark(Kind::Guests, "Podman", "/var/lib/containers/storage"),
    mark(Kind::Guests, "containerd", "/var/lib/containerd"),
    mark(Kind::Guests, "Kubernetes", "/var/lib/kubelet"),
    mark(Kind::Guests, "LXC", "/var/lib/lxc"),
    mark(Kind::Guests, "Incus or LXD", "/var/lib/incus"),
    mark(Kind::Guests, "libvirt", "/var/lib/libvirt/images"),
];

/// A sentence for each kind of which something was found.
pub fn warnings(found: &[Mark]) -> Vec<String> {
    let mut out = Vec::new();
    for kind in [Kind::Member, Kind::Database, Kind::Voter, Kind::Guests] {
        let these: Vec<String> =
            found.iter().filter(|m| m.kind == kind).map(|m| format!("{}: {}", m.of, m.path)).collect();
        if these.is_empty() {
            continue;
        }
        let these = these.join(", ");
        out.push(match kind {
            Kind::Member => format!(
                "the system may be a member of a directory ({these}): where its machine password was changed since, the directory refuses \
                 it until it is joined again"
            ),
            Kind::Database => format!(
                "data of databases go back ({these}): one that replicates with others must be made anew from them, or they from it"
            ),
            Kind::Voter => format!(
                "it may be a member of a cluster ({these}): a member that forgets what it has confirmed can damage the cluster. Take it out \
                 of the cluster first, and join it anew"
            ),
            Kind::Guests => format!("containers or virtual machines go back with what is in them ({these})"),
        });
    }
    out
}

/// A sentence about data that is kept while the programs it is of go back.
pub fn left_behind(found: &[Mark]) -> Option<String> {
    let these: Vec<String> = found.iter().map(|m| format!("{}: {}", m.of, m.path)).collect();
    (!these.is_empty()).then(|| {
        format!(
            "data is kept while its programs go back ({}): an older program may not read what a newer one wrote, and may damage it",
            these.join(", ")
        )
    })
}

/// True for a place where programs, or what they are set up by, lie, and for one that holds such a place.
pub fn is_of_the_system(path: &[u8]) -> bool {
    let places = ["/bin", "/boot", "/etc", "/lib", "/lib64", "/opt", "/sbin", "/usr", "/var/lib/dpkg", "/var/lib/rpm"];
    let lies = |inner: &[u8], outer: &[u8]| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    places.iter().any(|place| lies(path, place.as_bytes()) || lies(place.as_bytes(), path))
}

/// A sentence about volumes of these disks that the machine's TPM may open: it gives their keys to the boot chain it knows, and that goes
/// back.
pub fn sealed(inspection: &Inspection) -> Option<String> {
    let is = |content: &Content| match content {
        Content::Luks(l) => l.sealed,
        Content::Recognised { name, sealed } => *sealed || name == "bitlocker",
        _ => false,
    };
    let volumes: Vec<String> =
        inspection.volumes().filter(|(_, v)| is(&v.content)).map(|(_, v)| v.path.to_string()).collect();
    (!volumes.is_empty()).then(|| {
        format!(
            "the machine's TPM may open {} for the boot files it knows, and boot files go back: have the passphrase or the recovery \
             key at hand",
            volumes.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::{Digest, DiskNo, VolumePath};
    use model::inspection::{Disk, Hardware, Volume};
    use model::units::{ByteLen, Extent};

    #[test]
    fn places_of_programs_are_known() {
        for path in ["/usr", "/usr/local/bin", "/var", "/var/lib/dpkg/status"] {
            assert!(is_of_the_system(path.as_bytes()), "{path}");
        }
        for path in ["/home", "/usrlocal", "/var/lib/postgresql", "/srv"] {
            assert!(!is_of_the_system(path.as_bytes()), "{path}");
        }
        assert_eq!(left_behind(&[]), None);
        assert!(left_behind(&[MARKS[3]]).unwrap().contains("PostgreSQL: /var/lib/postgresql"));
    }

    #[test]
    fn each_kind_has_a_sentence() {
        assert_eq!(warnings(&[]), Vec::<String>::new());
        let of = |name: &str| *MARKS.iter().find(|m| m.of == name).unwrap();
        let said = warnings(&[of("etcd"), of("Samba"), of("Kerberos")]);
        assert_eq!(said.len(), 2);
        assert!(
            said[0].contains("Samba: /var/lib/samba/private/secrets.tdb, Kerberos: /etc/krb5.keytab"),
            "{}",
            said[0]
        );
        assert!(said[1].contains("Take it out of the cluster"), "{}", said[1]);
        assert_eq!(warnings(&MARKS).len(), 4);
    }

    #[test]
    fn what_a_tpm_opens_is_told() {
        let volume = |number: u32, name: &str, sealed: bool| Volume {
            path: VolumePath::partition(DiskNo(0), number),
            extent: Extent::whole(ByteLen(512)),
            mapping: None,
            content: Content::Recognised { name: name.into(), sealed },
        };
        let of = |volumes: Vec<Volume>| {
            let hardware = Hardware { transport: "".into(), ..Hardware::image("", ByteLen(512)) };
            let disk = Disk { no: DiskNo(0), hardware, head: Digest([0; 32]), table: None, volumes };
            sealed(&Inspection { disks: vec![disk], ..Inspection::default() })
        };
        assert_eq!(of(vec![volume(1, "luks", false), volume(2, "xfs", false)]), None);
        let said = of(vec![volume(1, "luks", true), volume(2, "bitlocker", false)]).unwrap();
        assert!(said.contains("open d0/p1, d0/p2 for"), "{said}");
    }
}
