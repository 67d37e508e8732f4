use super::*;
use model::command::ImageFormat;
use model::id::{PlanId, SnapRef};
use model::note::Says;
use model::proof::{Accelerator, Bus, Trial};
use model::retention::KeepPolicy;
use model::units::ByteLen;
use model::upkeep::Forgetting;
use model::upkeep::{ProbeSize, Pruning};

fn parsed(line: &str) -> Result<Invocation, Usage> {
    parse(line.split_whitespace().map(OsString::from))
}

fn at(dir: &str) -> StoreAt {
    StoreAt { dir: dir.into(), unlock: UnlockBy::Asked, sign_with: None, signers: Vec::new() }
}

fn refused(line: &str) -> String {
    match parsed(line) {
        Err(Usage(says)) => says,
        Ok(i) => panic!("{line:?} gives {i:?}"),
    }
}

#[test]
fn disks_are_restored_in_their_order_or_by_name() {
    let restore = |line: &str| match parsed(line) {
        Ok(Invocation::WriteBack(w)) => match w.to {
            WriteBackTo::Disks { saved, overwrite, new_ids, grow, .. } => {
                let saved: Vec<Option<u16>> = saved.iter().map(|s| s.map(|no| no.0)).collect();
                (saved, w.disks, overwrite.len() + 10 * grow.len(), new_ids)
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
    assert_eq!(restore("restore latest a b --store s"), (vec![None, None], paths(&["a", "b"]), 0, false));
    let line = "restore latest --disk d1=a=b --disk d0=c --store s --overwrite S1 --overwrite S2 --new-ids";
    assert_eq!(restore(line), (vec![Some(1), Some(0)], paths(&["a=b", "c"]), 2, true));
    assert_eq!(restore("restore latest a --grow d0/p3,d1 --store s"), (vec![None], paths(&["a"]), 20, false));
    for (line, why) in [
        ("restore --store s", "needs a snapshot"),
        ("restore latest --store s", "needs a disk"),
        ("restore latest a --disk d1=b --store s", "not both"),
        ("restore latest --disk d1= --store s", "--disk d0=DISK"),
        ("restore latest --disk d0/p1=a --store s", "--disk d0=DISK"),
        ("restore latest a --only d0/p1 --store s", "no option"),
        ("restore latest a --grow p1 --store s", "p1"),
        ("rollback latest a --new-ids --store s", "no option"),
    ] {
        let said = refused(line);
        assert!(said.contains(why), "{line}: {said}");
    }
}

#[test]
fn the_forms_of_a_trial() {
    let trial = |timeout, accelerator, bus| Trial { timeout, accelerator, bus };
    for (line, expected) in [
        ("prove abcd --store s", trial(600, Accelerator::Tcg, None)),
        ("prove abcd --store s --timeout 30 --bus nvme", trial(30, Accelerator::Tcg, Some(Bus::Nvme))),
        ("prove abcd --store s --accel kvm --bus sata", trial(600, Accelerator::Kvm, Some(Bus::Sata))),
    ] {
        assert!(matches!(parsed(line), Ok(Invocation::Prove(p)) if p.trial == expected && !p.json), "{line}");
    }
    assert!(refused("prove --store s").contains("one snapshot"));
    assert!(refused("prove abcd disk.img --store s").contains("no disk"));
    assert!(refused("prove abcd").contains("--store"));
    for bad in ["0", "-1", "1.5", "86401", "ten"] {
        assert!(refused(&format!("prove abcd --store s --timeout={bad}")).contains("number of seconds"), "{bad}");
    }
    assert!(refused("prove abcd --store s --accel xen").contains("no accelerator xen"));
    assert!(refused("prove abcd --store s --bus ide").contains("no bus ide"));
}

#[test]
fn the_forms_of_the_contract() {
    assert_eq!(
        parsed("inspect a.img b.img --json"),
        Ok(Invocation::Inspect(Inspect {
            disks: vec!["a.img".into(), "b.img".into()],
            open: vec![],
            store: None,
            json: true,
            explain: false,
            timeline: false
        }))
    );
    let init = |probe| Ok(Invocation::StoreInit(StoreInit { store: at("s"), encrypt: false, probe, json: false }));
    assert_eq!(parsed("store init s"), init(None));
    assert_eq!(parsed("store init --store s"), init(None));
    assert_eq!(parsed("store init --probe s"), init(Some(ProbeSize::All)));
    let most = Some(ProbeSize::AtMost(ByteLen(4 << 30)));
    for line in ["store init s --probe 4GiB", "store init --probe=4GiB s", "store init --probe 4GiB s"] {
        assert_eq!(parsed(line), init(most), "{line}");
    }
    let sealed = StoreAt { unlock: UnlockBy::KeyFile("k".into()), ..at("s") };
    assert!(matches!(parsed("check --store s --key-file k"), Ok(Invocation::Check(c)) if c.store == sealed));
    let verb = KeyVerb::Add { new: UnlockBy::Asked, label: Some("ann".into()) };
    assert_eq!(
        parsed("key add --store s --key-file k --label ann"),
        Ok(Invocation::Key(Key::OfStore { store: sealed, verb, json: false }))
    );
    let signer = "ab".repeat(32);
    let line = format!("check --store s --require-signer {signer},{signer}");
    assert!(matches!(parsed(&line), Ok(Invocation::Check(c)) if c.store.signers == [signer.parse().unwrap(); 2]));
    let forget =
        |what, approval| Ok(Invocation::Forget(Forget { what, approval, prune: false, store: at("s"), json: false }));
    assert_eq!(parsed("forget --store s"), forget(Forgetting::Policy(KeepPolicy::default()), ForgetApproval::Asked));
    let named = Forgetting::Named(vec!["abcd".parse().unwrap()]);
    assert_eq!(parsed("forget abcd --store s --yes"), forget(named, ForgetApproval::Yes));
    let policy = KeepPolicy { last: 3, within: Some(86_400), labelled: true, ..KeepPolicy::floor_only(2) };
    let line = "forget --store s --keep-last 3 --keep-within 1d --dry-run";
    assert_eq!(parsed(line), forget(Forgetting::Policy(policy), ForgetApproval::DryRun));
    let says = vec![Says::Label { text: "before 13".into(), automatic: false }, Says::Pin];
    let note = Note { snapshot: SnapRef::Latest, says, store: at("s"), json: false };
    let words = ["note", "latest", "--label", "before 13", "--pin", "--store", "s"];
    assert_eq!(parse(words.map(OsString::from)), Ok(Invocation::Note(note)));
    let prune = |how, dry_run| Ok(Invocation::Prune(Prune { store: at("s"), how, dry_run, json: false }));
    assert_eq!(parsed("prune --store s"), prune(Pruning { now: false, rewrite: 50 }, false));
    assert_eq!(
        parsed("prune --store s --now --rewrite 10% --dry-run"),
        prune(Pruning { now: true, rewrite: 10 }, true)
    );
    assert_eq!(parsed("stats --store s"), Ok(Invocation::Stats(StoreOnly { store: at("s"), json: false })));
    let to = StoreAt { unlock: UnlockBy::Passphrase("p".into()), ..at("t") };
    let snapshots = vec!["abcd".parse().unwrap(), SnapRef::Latest];
    let line = "copy abcd latest --store s --to t --to-passphrase-file p --json";
    let copy = Copy { snapshots, store: at("s"), to: to.clone(), json: true };
    assert_eq!(parsed(line), Ok(Invocation::Copy(copy)));
    let repair = |from| Ok(Invocation::Repair(Repair { store: at("s"), from, json: false }));
    assert_eq!(parsed("repair --store s"), repair(None));
    assert_eq!(parsed("repair --store s --from t --from-passphrase-file p"), repair(Some(to)));
    assert!(matches!(parsed("check --store s --accept-head"), Ok(Invocation::Check(c)) if c.accept_head));
    let new = Key::NewSigner { out: "f".into(), json: true };
    assert_eq!(parsed("key new-signer -o f --json"), Ok(Invocation::Key(new)));
    let id = model::id::Digest::of(b"plan");
    assert_eq!(
        parsed(&format!("rollback latest:good a.img --store s --only d0/p1,d0/p2 --approve {id}")),
        Ok(Invocation::WriteBack(WriteBack {
            to: WriteBackTo::Snapshot {
                keep: vec![],
                to: SnapRef::LatestGood,
                only: vec!["d0/p1".parse().unwrap(), "d0/p2".parse().unwrap()],
                full: false,
            },
            disks: vec!["a.img".into()],
            open: vec![],
            plain: false,
            store: at("s"),
            approval: Approval::Plan(PlanId(id)),
            foreign: None,
            json: false
        }))
    );
    for (line, full) in [("undo a.img --store=s --yes", false), ("undo a.img --full --store=s --yes", true)] {
        assert!(matches!(parsed(line), Ok(Invocation::WriteBack(w)) if w.to == WriteBackTo::Undo { full }));
    }
    let full = "rollback latest a.img --store=s --full";
    assert!(
        matches!(parsed(full), Ok(Invocation::WriteBack(w)) if matches!(w.to, WriteBackTo::Snapshot { full: true, .. }))
    );
    assert!(parsed("resume a.img --store=s --full").is_err(), "it takes no undo snapshot");
    let repair = parsed("repair-boot a.img --store s --plan");
    assert!(matches!(repair, Ok(Invocation::WriteBack(w)) if w.to == WriteBackTo::BootRepair && !w.disks.is_empty()));
    assert_eq!(
        parsed("export latest -o a/b.QCOW2 --only d0/p2 --store s --json"),
        Ok(Invocation::Export(Export {
            snapshot: SnapRef::Latest,
            only: Some("d0/p2".parse().unwrap()),
            to: "a/b.QCOW2".into(),
            format: ImageFormat::Qcow2,
            open: Vec::new(),
            store: at("s"),
            json: true
        }))
    );
    assert!(
        matches!(parsed("export abcd --out=a.img --store s"), Ok(Invocation::Export(e)) if e.format == ImageFormat::Raw)
    );
    assert!(matches!(parsed("tui"), Ok(Invocation::Tui(_))));
    assert!(matches!(parsed("console --engine 3"), Ok(Invocation::Console { engine: 3 })));
    assert_eq!(parsed("check --help"), Ok(Invocation::Help(Some("check".into()))));
    let kept = parsed("rollback latest disk.img --store s --keep /home,/srv/data --keep /root");
    let paths = ["/home", "/srv/data", "/root"].map(model::text::RawName::from);
    assert!(
        matches!(kept, Ok(Invocation::WriteBack(w)) if matches!(&w.to, WriteBackTo::Snapshot { keep, .. } if *keep == paths))
    );
}

#[test]
fn what_makes_no_sense_is_said() {
    for (line, says) in [
        ("", "a verb is missing"),
        ("frobnicate", "there is no verb `frobnicate`"),
        ("diff latest --store s", "`diff` takes two states: A B, or A now DISK.."),
        ("prune --store s extra", "`prune` takes no `extra`"),
        ("prune --store s --rewrite much", "much is no part of a hundred: 30% is"),
        ("copy --store s", "`copy` needs --to DIRECTORY, a store"),
        ("copy --to t", "`copy` needs --store DIRECTORY"),
        ("copy --store s --to t --from u", "`copy` has no option `--from`"),
        ("repair --store s --from-key-file k", "a key of a second store is given, and no second store"),
        ("repair latest --store s", "`repair` takes no `latest`"),
        ("copy --store s --to t --to-key-file a --to-key-file b", "one passphrase file or key file is enough"),
        ("inspect", "`inspect` needs a disk or an image file"),
        ("inspect a --full", "`inspect` has no option `--full`"),
        ("inspect a -x", "`inspect` has no option `-x`"),
        ("snapshot a", "`snapshot` needs --store DIRECTORY"),
        ("auto --store s", "`auto` needs a disk or an image file"),
        ("engine --policy auto", "`engine --policy` is for the rescue: it needs --control"),
        ("snapshots --store s extra", "`snapshots` takes no `extra`"),
        ("rollback --store s", "`rollback` needs a snapshot, then the disks"),
        ("rollback latest --store s", "`rollback` needs a disk or an image file"),
        ("undo a --store s --plan --yes", "only one of --plan, --approve and --yes can be given"),
        ("undo a --store s --only d0/p1", "`undo` has no option `--only`"),
        ("store prune s", "`store` has one verb: `store init DIRECTORY`"),
        ("store init", "`store init` needs one directory"),
        ("store init a b", "`store init` needs one directory"),
        ("store init s --probe=much", "much is no size: 500M, 4G (thousands) or 4GiB is"),
        ("key", "`key` needs one of: list, add, remove, new-signer"),
        ("forget --store s --yes --dry-run", "only one of --dry-run and --yes can be given"),
        ("forget abcd --store s --keep-last 1", "`forget` takes snapshots or what to keep, not both"),
        ("forget --store s --keep-last many", "--keep-last needs a number, not many"),
        ("forget --store s --keep-within 3", "--keep-within needs a time such as 36h, 10d, 2w, 6m or 1y, not 3"),
        ("note latest --store s", "`note` needs --label, --pin or --unpin"),
        ("note latest --store s --pin --unpin", "only one of --pin and --unpin can be given"),
        ("note --store s --pin", "`note` needs one snapshot"),
        ("check --store s --sign-with k", "`check` has no option `--sign-with`"),
        ("key list", "`key list` needs --store DIRECTORY"),
        ("key remove --store s", "`key remove` needs the id of one key"),
        ("key add --store s --new-key-file a --new-passphrase-file b", "one passphrase file or key file is enough"),
        ("check --store s --key-file a --key-file b", "one passphrase file or key file is enough"),
        ("key new-signer -o f --key-file k", "`key new-signer` needs no store"),
        ("key new-signer", "`key new-signer` needs -o FILE"),
        ("key new-signer x -o f", "`key new-signer` takes no `x`"),
        ("console", "`console` needs --engine FD"),
        ("export --store s -o a.img", "`export` needs a snapshot"),
        ("export latest d.img --store s -o a.img", "`export` takes one snapshot and no disk"),
        ("export latest --store s", "`export` needs -o FILE.img or -o FILE.qcow2"),
        ("export latest -o a.img", "`export` needs --store DIRECTORY"),
        ("export latest --store s -o /dev/sda", "`export -o` makes a new file: FILE.img (plain) or FILE.qcow2"),
        ("export latest --store s -o a.img --only d0,d1", "`export --only` takes one volume, or one disk"),
        ("check --store s -o a.img", "`check` has no option `-o`"),
    ] {
        assert_eq!(refused(line), says, "{line:?}");
    }
    let line = format!("undo a --store s --yes --require-signer {}", "ab".repeat(32));
    assert!(refused(&line).contains("--sign-with FILE"));
    assert!(parsed(&line.replace("--yes", "--plan")).is_ok(), "nothing is saved by it");
    assert!(refused("rollback LATEST a --store s").contains("latest:good"), "the error says what was expected");
    assert!(refused("rollback latest a --store s --only p1").contains("d0/p3"));
    assert!(refused("rollback latest a --store s --approve 12").contains("64 hexadecimal digits"));
}
