//! What is saved: an ext4 image with a Debian that is used, and its states after real upgrades.
//!
//! Each state is what a session leaves ([`super::session`]); the first one, that of the session in which the new system settled.
//! The first state is the image itself. Every later one is kept as the blocks in which it differs from it
//! ([`super::delta`]), so that one more image, the work image, can be any of them within seconds.

use super::delta::{self, Delta};
use super::filling;
use super::metadata;
use super::mount::Mounted;
use super::session::{self, Session};
use qemu_tests::machine::run;
use qemu_tests::{Result, workspace};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const HOOK: &str = include_str!("input-hook.sh");
const ROOT_UUID: &str = "7f1a0c1e-4c0b-4b7e-9d0e-0a5d5c1f0020";
/// Raised where the making changes in a way that the other parts of the recipe do not show.
const RECIPE: u8 = 1;
/// Raised where the sessions change: they are lived anew then, in the image that is there.
const SESSIONS: u8 = 1;
/// The file of [`Facts`].
const KNOWN: &str = "facts.json";
const MB: u64 = 1_000_000;
const MIB: u64 = 1 << 20;

/// How large the input is.
pub(super) struct Scale {
    /// Its name on the command line.
    pub(super) name: &'static str,
    /// The name of the image.
    pub(super) image: &'static str,
    /// Bytes of the image.
    size: u64,
    /// Bytes of disk that a whole run needs at most, what is kept between runs included.
    pub(super) disk: u64,
    /// Divides the amount of logs and user files.
    share: u32,
    packages: &'static [&'static str],
    /// The packages upgraded on the way to each later state.
    upgrades: &'static [&'static [&'static str]],
}

/// The scales, the one that counts first.
pub(super) const SCALES: &[Scale] = &[
    Scale {
        name: "full",
        image: "root8",
        size: 11_500 * MIB,
        disk: 42_000 * MB,
        share: 1,
        packages: &[
            "systemd-sysv,linux-image-amd64,linux-headers-amd64,udev,init,locales-all,openssh-server,network-manager",
            "rsyslog,man-db,manpages-dev,gnome-shell,gnome-terminal,nautilus,gdm3,evince,eog,gedit,libreoffice",
            "libreoffice-help-en-us,libreoffice-gnome,gimp,firefox-esr,thunderbird,vlc,build-essential,gdb",
            "default-jdk,nodejs,npm,python3-scipy,python3-pandas,python3-sphinx,python3-django,python3-doc",
            "texlive-latex-extra,texlive-fonts-recommended,libboost-dev,qtbase5-dev,libgtk-4-dev,emacs-nox,vim,git",
            "postgresql,mariadb-server,apache2,php-cli,breeze-icon-theme,adwaita-icon-theme-full",
            "fonts-noto-core,fonts-noto-cjk,hunspell-en-us,aspell-en,linux-doc",
        ],
        upgrades: &[
            &["apache2 apache2-bin apache2-data apache2-utils"],
            &["python3-django"],
            &["postgresql-15 postgresql-client-15 libpq5 php8.2-cli php8.2-common php8.2-opcache php8.2-readline"],
            &[
                "python3.11 python3.11-minimal python3.11-dev python3.11-doc libpython3.11 libpython3.11-minimal",
                "libpython3.11-stdlib libpython3.11-dev perl perl-base perl-modules-5.36 libperl5.36 ghostscript libgs10",
                "libgs-common libgs10-common openssl libssl3 libssl-dev vlc vlc-bin vlc-data vlc-plugin-base",
                "vlc-plugin-qt vlc-plugin-video-output libvlc5 libvlccore9 libvlc-bin",
            ],
        ],
    },
    Scale {
        name: "small",
        image: "root-small",
        size: 1_500 * MIB,
        disk: 6_000 * MB,
        share: 8,
        packages: &[
            "systemd-sysv,udev,linux-image-cloud-amd64,less,perl,python3,git,openssl,openssh-server,man-db,apache2,postgresql-15",
        ],
        upgrades: &[
            &["openssl libssl3"],
            &["apache2 apache2-bin apache2-data apache2-utils"],
            &["perl perl-base perl-modules-5.36 libperl5.36"],
            &["postgresql-15 postgresql-client-15 libpq5"],
        ],
    },
];

/// What is known of a state once it is made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    /// Bytes of blocks that differ from those of the state before.
    pub(super) changed: u64,
    /// Bytes of the files whose inode changed in the upgrade: replaced, new, or grown.
    pub(super) files: u64,
    /// Packages that were upgraded.
    pub(super) packages: usize,
}

/// Facts of the made input.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Facts {
    /// Names the recipe it was made by.
    pub(super) recipe: String,
    /// Names how its sessions were made; 0 where there was none yet.
    #[serde(default)]
    pub(super) sessions: u8,
    /// Names in the tree.
    pub(super) names: u64,
    /// Bytes in use of the file system.
    pub(super) used: u64,
    /// Bytes of the last state's metadata, as [`super::metadata`] counts it.
    #[serde(default)]
    pub(super) metadata: u64,
    /// Seconds that making it took.
    pub(super) seconds: u64,
    /// The states after the first.
    pub(super) states: Vec<State>,
}

impl Facts {
    fn new(recipe: String) -> Self {
        Self { recipe, sessions: 0, names: 0, used: 0, metadata: 0, seconds: 0, states: Vec::new() }
    }
}

/// The made input.
pub(super) struct Input {
    /// The first state; never written.
    pub(super) pristine: PathBuf,
    pub(super) facts: Facts,
    deltas: Vec<PathBuf>,
}

/// Where everything of a scale lies.
pub(super) fn folder(scale: &Scale) -> PathBuf {
    workspace::root().join("target/compare").join(scale.name)
}

impl Input {
    /// Makes it, or takes what an earlier run made by the same recipe.
    ///
    /// # Errors
    /// Where a tool fails or the disk is too small.
    pub(super) fn make(scale: &Scale) -> Result<Self> {
        let mut input = Self::settled(scale)?;
        if input.facts.states.len() != scale.upgrades.len() {
            input.upgrade(scale, &folder(scale))?;
        }
        Ok(input)
    }

    /// Makes its first state alone, or takes what is there.
    ///
    /// # Errors
    /// Where a tool fails or the disk is too small.
    pub(super) fn settled(scale: &Scale) -> Result<Self> {
        let dir = folder(scale);
        let (pristine, known) = (dir.join(format!("{}.img", scale.image)), dir.join(KNOWN));
        let deltas = (1..=scale.upgrades.len()).map(|n| dir.join(format!("state{n}.delta"))).collect();
        let recipe = recipe(scale)?;
        let made = fs::read(&known).ok().and_then(|b| serde_json::from_slice(&b).ok());
        let mut input = Self { pristine, facts: Facts::new(recipe), deltas };
        if let Some(facts) = made.filter(|f: &Facts| f.recipe == input.facts.recipe) {
            input.facts = facts;
        } else {
            if dir.exists() {
                // No step into what is mounted: `release` was here before, and this stops where it was not enough.
                run(Command::new("rm").args(["-rf", "--one-file-system"]).arg(&dir))?;
            }
            fs::create_dir_all(&dir)?;
            room(scale.disk, &dir)?;
            input.timed(&known, |input| input.install(scale, &dir))?;
        }
        if input.facts.sessions != SESSIONS {
            input.facts.states.clear();
            input.timed(&known, |input| input.settle(&dir))?;
        }
        Ok(input)
    }

    /// One step of the making, whose time counts; what is known after it is kept.
    fn timed(&mut self, known: &Path, step: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let began = Instant::now();
        step(self)?;
        self.facts.seconds += began.elapsed().as_secs();
        Ok(fs::write(known, serde_json::to_vec(&self.facts)?)?)
    }

    /// What is known of the input, where it is there whole.
    ///
    /// # Errors
    /// Where the host's release cannot be told.
    pub(super) fn known(scale: &Scale) -> Result<Option<Facts>> {
        let (recipe, states) = (recipe(scale)?, scale.upgrades.len());
        let made = fs::read(folder(scale).join(KNOWN)).ok().and_then(|b| serde_json::from_slice(&b).ok());
        Ok(made.filter(|f: &Facts| f.recipe == recipe && f.sessions == SESSIONS && f.states.len() == states))
    }

    /// Makes the work image anew, in the first state.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn restore(&self, work: &Path) -> Result<()> {
        // Over what is there its holes would be lost.
        if work.exists() {
            fs::remove_file(work)?;
        }
        delta::copy(&self.pristine, work)
    }

    /// Turns a work image, which is in one of the states and was only read since, into another; 0 is the first.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn set(&self, work: &Path, state: usize) -> Result<()> {
        for made in &self.deltas {
            Delta::open(made)?.undo(&self.pristine, work)?;
        }
        match state.checked_sub(1) {
            None => Ok(()),
            Some(n) => Delta::open(&self.deltas[n])?.apply(work),
        }
    }

    /// Puts the blocks that the last upgrade changed into a file.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn changed(&self, file: &Path) -> Result<()> {
        let mut last = self.deltas.iter().rev().map(|path| Delta::open(path));
        let after = last.next().ok_or("an input without upgrades")??;
        after.extract(last.next().transpose()?.as_ref(), file)
    }

    fn install(&mut self, scale: &Scale, dir: &Path) -> Result<()> {
        println!("input: installing a Debian into {} (minutes; its packages are downloaded)", scale.image);
        let image = self.pristine.with_extension("partial");
        File::create(&image)?.set_len(scale.size)?;
        format(&image)?;
        let hook = dir.join("hook.sh");
        fs::write(&hook, HOOK)?;
        // Freed blocks become holes again, so that the image is no larger than what is in it.
        let root = Mounted::writable(&image, &dir.join("root"), "discard")?;
        let suite = qemu_tests::target::suite()?;
        let mut command = Command::new("mmdebstrap");
        command
            .args(["--mode=root", "--variant=apt", "--format=directory", "--dpkgopt=force-unsafe-io"])
            .args(["--skip=cleanup/apt", "--aptopt=APT::Install-Recommends \"false\""])
            .arg(format!("--aptopt=APT::Default-Release \"{suite}\""))
            .arg("--essential-hook=echo man-db man-db/auto-update boolean false | chroot \"$1\" debconf-set-selections")
            .arg(format!("--customize-hook=sh '{}' \"$1\"", hook.display()))
            .args(["--include", &scale.packages.join(",")])
            .arg(&suite)
            .arg(root.path())
            .args(qemu_tests::target::debian_sources()?)
            .env("ROOT_UUID", ROOT_UUID);
        let log = dir.join("install.log");
        let words = File::create(&log)?;
        let status = command.stdin(Stdio::null()).stdout(words.try_clone()?).stderr(words).status()?;
        if !status.success() {
            return Err(format!("mmdebstrap ended with {status}; {} says why", log.display()).into());
        }
        println!("input: logs and user files");
        filling::logs(root.path(), scale.share)?;
        filling::user_files(&root.path().join("home/user"), scale.share)?;
        root.unmount()?;
        fs::rename(image, &self.pristine)?;
        Ok(())
    }

    /// The session in which the new system settles.
    fn settle(&mut self, dir: &Path) -> Result<()> {
        println!("input: its first start");
        let settled = self.pristine.with_extension("partial");
        if settled.exists() {
            fs::remove_file(&settled)?;
        }
        delta::copy(&self.pristine, &settled)?;
        Session::start(&settled, None, dir)?.end()?;
        fs::rename(settled, &self.pristine)?;
        let root = Mounted::read_only(&self.pristine, &dir.join("root"))?;
        self.facts.names = names(root.path())?;
        self.facts.used = root.used()?;
        root.unmount()?;
        self.facts.sessions = SESSIONS;
        Ok(())
    }

    /// A session for each upgrade that has no state yet; keeps what each changed.
    fn upgrade(&mut self, scale: &Scale, dir: &Path) -> Result<()> {
        let upgrades: Vec<String> = scale.upgrades.iter().map(|names| names.join(" ")).collect();
        println!("input: fetching the packages of its upgrades");
        let packages = session::packages(&self.pristine, &upgrades, dir)?;
        let work = dir.join("work.img");
        self.restore(&work)?;
        let known = self.facts.states.len();
        if let Some(last) = known.checked_sub(1) {
            Delta::open(&self.deltas[last])?.apply(&work)?;
        }
        for (n, names) in upgrades.iter().enumerate().skip(known) {
            println!("input: upgrading {names}");
            self.timed(&dir.join(KNOWN), |input| {
                let (packages, files) = session_with(&work, &packages, n + 1, names, dir)?;
                let before = n.checked_sub(1).map(|b| Delta::open(&input.deltas[b])).transpose()?;
                let changed = Delta::make(&input.pristine, &work, &input.deltas[n])?.differing(before.as_ref())?;
                input.facts.states.push(State { changed, files, packages });
                input.facts.metadata = metadata::of(&work, &dir.join("root"))?;
                Ok(())
            })?;
        }
        fs::remove_file(work)?;
        Ok(fs::remove_file(packages)?)
    }
}

/// A session with an upgrade. Gives the number of packages upgraded, and the bytes of the files written from start to shutdown.
fn session_with(image: &Path, packages: &Path, number: usize, names: &str, dir: &Path) -> Result<(usize, u64)> {
    let stamp = dir.join("stamp");
    File::create(&stamp)?;
    let mut session = Session::start(image, Some(packages), dir)?;
    // Where apt would have put them. Its own cache of the lists is larger than the smaller upgrades.
    session.run(&format!(
        "mkdir /run/packages && mount -o ro /dev/vdb /run/packages && \
         cp /run/packages/{number}/*.deb /var/cache/apt/archives/ && umount /run/packages"
    ))?;
    let says = session.run(&format!(
        "apt-get -q -y --no-download -o APT::Default-Release= -o APT::Install-Recommends=false \
         -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Dpkg::Use-Pty=0 -o DPkg::Options::=--force-unsafe-io \
         install --only-upgrade --no-remove {names} </dev/null"
    ))?;
    session.end()?;
    let upgraded = says.lines().filter(|l| l.trim_start().starts_with("Setting up ")).count();
    if upgraded == 0 {
        return Err(format!("the archive has nothing newer for {names}").into());
    }
    let root = Mounted::read_only(image, &dir.join("root"))?;
    let files = written_since(root.path(), &stamp)?;
    root.unmount()?;
    Ok((upgraded, files))
}

/// Makes an empty file system in an image, whatever was in it.
///
/// # Errors
/// Where mke2fs fails.
pub(super) fn format(image: &Path) -> Result<()> {
    let size = image.metadata()?.len();
    File::create(image)?.set_len(size)?;
    run(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4", "-L", "root", "-U", ROOT_UUID]).arg(image))
}

/// Names the recipe: everything the images depend on, but for the archive's state.
fn recipe(scale: &Scale) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(format!("{RECIPE} {} {}\n", scale.size, scale.share));
    for part in [HOOK, ROOT_UUID, &scale.packages.join(","), &fs::read_to_string("/etc/os-release")?] {
        hash.update(part);
        hash.update([0]);
    }
    for upgrade in scale.upgrades {
        hash.update(upgrade.join(","));
        hash.update([0]);
    }
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

/// Refuses where the disk has too little free for so many bytes in a folder, what is there already included.
///
/// # Errors
/// Where it has too little, or `df` cannot say.
pub(super) fn room(disk: u64, dir: &Path) -> Result<()> {
    let out = Command::new("df").args(["--output=avail", "--block-size=1"]).arg(dir).output()?;
    let free: u64 = String::from_utf8(out.stdout)?.lines().nth(1).unwrap_or_default().trim().parse()?;
    let mut there = 0;
    for entry in fs::read_dir(dir)? {
        there += entry?.metadata()?.blocks() * 512;
    }
    let wanted = disk.saturating_sub(there);
    println!("disk: a run needs up to {} MB more at {}; {} MB are free", wanted / MB, dir.display(), free / MB);
    if free < wanted {
        return Err(format!(
            "too little space: {} MB more are needed at {} and {} MB are free. Make room, or try --scale small",
            wanted / MB,
            dir.display(),
            free / MB
        )
        .into());
    }
    Ok(())
}

fn names(root: &Path) -> Result<u64> {
    let out = Command::new("sh").args(["-c", "find \"$1\" -xdev | wc -l", "sh"]).arg(root).output()?;
    Ok(String::from_utf8(out.stdout)?.trim().parse()?)
}

/// Bytes of the regular files whose inode changed after the stamp did.
fn written_since(root: &Path, stamp: &Path) -> Result<u64> {
    let out = Command::new("find")
        .arg(root)
        .args(["-xdev", "-type", "f", "-cnewer"])
        .arg(stamp)
        .args(["-printf", "%s\\n"])
        .output()?;
    let mut bytes = 0;
    for line in String::from_utf8(out.stdout)?.lines() {
        bytes += line.parse::<u64>()?;
    }
    Ok(bytes)
}
