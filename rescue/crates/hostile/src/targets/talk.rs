//! What front ends, the engine and who started it say to each other.

use crate::Target;
use crate::files::{inspect, source};
use engine::link::{Control, Wish};
use model::command::Command;
use model::event::{Event, Happening, JobKind, Outcome};
use model::run_state::RunState;

pub(super) const TARGET: Target = Target {
    name: "talk",
    meets: "commands of front ends, events of the engine and the state made of them, messages of the control socket",
    run,
    seeds,
};

/// Lines of JSON, each taken for whatever it may be.
fn run(input: &[u8]) {
    let mut state = RunState::default();
    for line in input.split(|b| *b == b'\n').take(64) {
        if let Ok(command) = serde_json::from_slice::<Command>(line) {
            again(&command);
        }
        if let Ok(event) = serde_json::from_slice::<Event>(line) {
            state.apply(&event);
            again(&event);
        }
        let _ = serde_json::from_slice::<Control>(line);
        let _ = serde_json::from_slice::<Wish>(line);
    }
    again(&state);
}

/// What was read can be said, and is the same then.
fn again<T>(value: &T)
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq,
{
    let said = serde_json::to_vec(value).expect("what was read can be written");
    let read: Option<T> = serde_json::from_slice(&said).ok();
    assert!(read.is_some_and(|r| r == *value), "said again it is something else: {}", String::from_utf8_lossy(&said));
}

fn seeds() -> Vec<Vec<u8>> {
    let report = inspect(vec![source(0, super::machine::image().bytes())]);
    let happenings = [
        Happening::Started(JobKind::Inspect),
        Happening::Report(Box::new(report)),
        Happening::Ended { job: JobKind::Inspect, outcome: Outcome::Looked },
        Happening::Log("a line".into()),
        Happening::Warning("beware".into()),
        Happening::State(Box::default()),
        Happening::Locked,
        Happening::Ended { job: JobKind::Snapshot, outcome: Outcome::Declined },
    ];
    let events: Vec<Event> = (1..).zip(happenings).map(|(seq, what)| Event { seq, what }).collect();
    let lines: Vec<Vec<u8>> = events.iter().filter_map(|e| serde_json::to_vec(e).ok()).collect();
    let mut out = lines.clone();
    out.push(lines.join(&b'\n'));
    for command in [
        r#"{"type":"inspect"}"#,
        r#"{"type":"unlock","passphrase":"x"}"#,
        r#"{"type":"snapshot","full":true}"#,
        r#"{"type":"plan_rollback","to":"latest:good","only":["d0/p1"],"full":false}"#,
        r#"{"attach":"tty1"}"#,
        r#"{"ask":"reboot"}"#,
        r#"{"power":"power_off"}"#,
    ] {
        out.push(command.as_bytes().to_vec());
    }
    out
}
