//! Files of a saved state, and an engine that shows them.

use super::*;
use holdfast::tui::files::Files;
use holdfast::tui::state::{Action, Key};
use model::browse::*;
use model::command::Command;
use model::files::*;

/// What an engine has to show.
pub(crate) type Shows<'a> = &'a dyn Fn(&Browse) -> Result<Shown, Failure>;

pub(crate) fn volumes() -> Vec<ListedVolume> {
    let volume = |at: &str, fs: &str, mount: Option<&str>, readable| ListedVolume {
        volume: path(at),
        fs: fs.into(),
        mount: mount.map(str::to_owned),
        readable,
    };
    vec![
        volume("d0/p1", "vfat", Some("/boot/efi"), true),
        volume("d0/p2", "ext4", Some("/"), true),
        volume("d0/p3", "swap", None, false),
    ]
}

pub(crate) fn entry(name: &[u8], kind: FileKind, mode: u32, size: u64) -> Named {
    let attributes = Attributes {
        kind,
        mode,
        owner: 1000,
        group: 1000,
        links: 1,
        size: ByteLen(size),
        modified: Some(at(22, 20, 15).0 * 1000),
        accessed: None,
        device: None,
        target: (kind == FileKind::Symlink).then(|| "../usr/bin".into()),
        xattrs: Vec::new(),
        flags: 0,
    };
    Named { name: RawName(name.to_vec()), file: FileId(12), attributes: Some(attributes) }
}

/// A folder with one of each kind, names that are no good names among them.
pub(crate) fn entries() -> Vec<Named> {
    let mut all = vec![
        entry(b".bash_history", FileKind::File, 0o100_600, 4096),
        entry(b"Documents", FileKind::Directory, 0o040_755, 4096),
        entry(
            b"a name with  two spaces, and so long that no column of any usual screen holds all of it",
            FileKind::File,
            0o100_644,
            3_100_000_000,
        ),
        entry(b"bin", FileKind::Symlink, 0o120_777, 10),
        entry(b"evil\x1b[2J\xff\n", FileKind::File, 0o104_755, 1),
        entry(b"pipe", FileKind::Special, 0o010_600, 0),
    ];
    all.push(Named { attributes: None, ..entry(b"torn", FileKind::File, 0, 0) });
    all
}

/// A folder of so many names, of which it shows what is asked for.
pub(crate) fn part_of(at: &str, count: u64, part: &Part, name: &dyn Fn(u64) -> Named) -> Folder {
    let chosen = match part {
        Part::Around(_) => None,
        Part::Named(wanted) => (0..count).find(|n| name(*n).name == *wanted),
        Part::Containing { text, from, .. } => (*from..count)
            .chain(0..*from)
            .find(|n| String::from_utf8_lossy(&name(*n).name.0).contains(&*String::from_utf8_lossy(&text.0))),
    };
    let middle = match (chosen, part) {
        (Some(n), _) => n,
        (None, Part::Around(n) | Part::Containing { from: n, .. }) => *n,
        (None, Part::Named(_)) => 0,
    };
    let most = MOST_SHOWN as u64;
    let from = middle.saturating_sub(most / 2).min(count.saturating_sub(most));
    let entries = (from..count.min(from + most)).map(name).collect();
    Folder { volume: path("d0/p2"), path: at.into(), count, more: false, from, entries, chosen }
}

/// Volumes, the folder of [`entries`] wherever somebody goes, and a text wherever it is a file.
pub(crate) fn shows(ask: &Browse) -> Result<Shown, Failure> {
    let Some(at) = &ask.at else { return Ok(Shown::Volumes(volumes())) };
    let last = at.path.0.rsplit(|b| *b == b'/').next().unwrap();
    let all = entries();
    match all.iter().find(|e| e.name.0 == last).and_then(|e| e.attributes.as_ref()).map(|a| a.kind) {
        Some(FileKind::File) => Ok(Shown::File(ShownFile {
            volume: path("d0/p2"),
            path: at.path.clone(),
            head: FileHead::of(text(last), ByteLen(text(last).len() as u64)),
            damaged: false,
        })),
        Some(FileKind::Special) => Err(Failure::new(ExitCode::Refused, "it is a pipe", "")),
        _ => {
            let at = at.path.display().to_string();
            Ok(Shown::Folder(part_of(&at, all.len() as u64, &ask.part, &|n| all[usize::try_from(n).unwrap()].clone())))
        }
    }
}

fn text(name: &[u8]) -> &'static [u8] {
    match name {
        b".bash_history" => {
            b"sudo apt full-upgrade\n\n\tindented by a tab, and long: it does not fit into one line of a usual screen\nls \xff \x1b[2J\n"
        }
        _ => b"\x7fELF\0\0\0",
    }
}

/// What the engine makes of actions, until nothing more is asked of it. Gives what else was asked.
pub(crate) fn answer(ui: &mut Ui, run: &mut RunState, actions: Vec<Action>, shows: Shows<'_>) -> Vec<Action> {
    let mut rest = Vec::new();
    let mut left: std::collections::VecDeque<Action> = actions.into();
    while let Some(action) = left.pop_front() {
        let ask = match action {
            Action::Submit(Command::BrowseFiles { ask }) => ask,
            other => {
                rest.push(other);
                continue;
            }
        };
        run.job = Some((JobKind::Browse, None));
        run.browsed = None;
        left.extend(update(ui, run, Input::Changed));
        run.browsed = Some(Browsed { shown: shows(&ask), ask });
        left.extend(update(ui, run, Input::Changed));
        run.job = None;
        left.extend(update(ui, run, Input::Changed));
    }
    rest
}

/// Presses keys, each answered by the engine. Gives what else is asked of it.
pub(crate) fn browse(ui: &mut Ui, run: &mut RunState, keys: &[Key], shows: Shows<'_>) -> Vec<Action> {
    let mut rest = Vec::new();
    for k in keys {
        let actions = update(ui, run, Input::Key(*k));
        rest.extend(answer(ui, run, actions, shows));
    }
    rest
}

/// The keys from the first screen to the root of the system in the last good state.
pub(crate) const TO_ROOT: [Key; 3] = [Key::Char('r'), Key::Char('b'), Key::Enter];

/// Somebody who is at the root of a saved system.
pub(crate) fn at_root() -> Files {
    let (mut ui, mut run) = (joined(&good_run(), (80, 25), Look::PLAIN), good_run());
    browse(&mut ui, &mut run, &TO_ROOT, &shows);
    ui.files.unwrap()
}

/// A file that was taken out to the save disk, with a remark or two.
pub(crate) fn got() -> Got {
    let mut got = Got {
        snapshot: snapshot_id("three"),
        volume: path("d0/p2"),
        path: "/home/ann/Documents".into(),
        to: "/store/files/8b5b9db0/Documents".into(),
        files: 312,
        directories: 20,
        others: 2,
        written: ByteLen(48_000_000),
        left_out: Remarks::default(),
        damaged: Remarks::default(),
    };
    got.left_out.add(b"tools/su", "its set-user-ID or set-group-ID bit: --privileged keeps it");
    got
}

/// What differs, with the lines of a file.
pub(crate) fn compared_run() -> RunState {
    let mut d = differences();
    let notable = &mut d.volumes[0].files.as_mut().unwrap().notable;
    let line = |mark, text: &str| (mark, DisplayText::new(text));
    notable[0].text = Some(TextChange::Lines {
        hunks: vec![Hunk {
            before: 3,
            after: 3,
            lines: vec![
                line(LineMark::Both, "# <file system> <mount point> <type> <options>"),
                line(LineMark::Before, "UUID=1111 /home ext4 defaults 0 2"),
                line(LineMark::After, "UUID=1111 /home ext4 noatime 0 2"),
                line(LineMark::After, "UUID=2222 /srv ext4 defaults 0 2"),
                line(LineMark::Both, "UUID=3333 none swap sw 0 0"),
            ],
        }],
        more: false,
    });
    notable[1].text = Some(TextChange::Untold("not everybody may read it on the machine".into()));
    ended_run(JobKind::Compare, Outcome::Compared(Box::new(d)))
}
