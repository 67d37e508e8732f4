//! LUKS volumes as cryptsetup makes them: their keys and bytes are its, and damaged or hostile headers are told as such.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod host;

use disk::content::identify;
use disk::volume::luks::{Attempt, Refused, Unsealed, cipher, mapping, open, read};
use host::{Seeded, attempt, blank, image, patch, run};
use model::id::{DiskNo, VolumePath};
use model::inspection::{Content, Volume};
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset, Extent};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MIB: u64 = 1 << 20;
const PASSPHRASE: &str = "correct horse";
/// What makes stretching quick.
const ARGON: [&str; 8] =
    ["--pbkdf", "argon2id", "--pbkdf-force-iterations", "4", "--pbkdf-memory", "32", "--pbkdf-parallel", "1"];
const PBKDF2: [&str; 6] = ["--pbkdf", "pbkdf2", "--hash", "sha512", "--pbkdf-force-iterations", "1000"];
const ANY: Attempt<'static> = Attempt { memory: ByteLen(64 << 20), going: &|| true, trying: &|_, _| {} };

fn cryptsetup(args: &[&str]) -> String {
    run("cryptsetup-bin", "cryptsetup", &[&["-q"][..], args].concat(), PASSPHRASE)
}

/// A container of which all bytes but the header were encrypted by cryptsetup.
fn encrypted(dir: &Path, plain: &[u8], args: &[&str]) -> PathBuf {
    let path = blank(dir, "container.img", plain.len() as u64 + 2 * MIB);
    patch(&path, 0, plain);
    let small = ["--reduce-device-size", "2M", "--luks2-metadata-size", "16k", "--luks2-keyslots-size", "512k"];
    let file = path.to_str().unwrap();
    let all = [&["reencrypt", "--encrypt", "--type", "luks2", "--key-file", "-"][..], &small, args, &[file]].concat();
    cryptsetup(&all);
    path
}

fn plain() -> Vec<u8> {
    let mut seeded = Seeded(7);
    (0..MIB / 8).flat_map(|_| seeded.next().to_le_bytes()).collect()
}

/// The bytes in clear, as the volume that is found by the header.
fn opened(bytes: &Arc<dyn ReadAt>) -> Vec<u8> {
    let header = read(&**bytes).unwrap().unwrap().header.unwrap();
    let key = open(&header, &**bytes, PASSPHRASE.as_bytes(), &ANY).unwrap().key;
    let volume = Volume::on_disk(VolumePath::whole(DiskNo(0)), Extent::whole(bytes.size()), Content::Unknown);
    let (path, mapping) = mapping(&volume, &header).unwrap();
    assert_eq!(path.to_string(), "d0/luks");
    let sealed = mapping.beneath[0].sealed.as_deref().unwrap();
    let view = Unsealed::new(bytes.clone(), sealed, cipher(sealed, &key).unwrap()).unwrap();
    let inner = model::mapping::Mapped::new(&mapping, vec![Arc::new(view)]).unwrap();
    inner.read_vec(ByteOffset(0), usize::try_from(MIB).unwrap()).unwrap()
}

#[test]
fn what_cryptsetup_encrypted_is_read() {
    let plain = plain();
    let xts = |bits, sector| ["--cipher", "aes-xts-plain64", "--key-size", bits, "--sector-size", sector];
    let cbc = ["--cipher", "aes-cbc-essiv:sha256", "--key-size", "256", "--sector-size", "512"];
    for args in [
        [&xts("512", "512")[..], &ARGON].concat(),
        [&xts("256", "4096")[..], &PBKDF2].concat(),
        [&cbc[..], &ARGON].concat(),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let bytes = image(&encrypted(dir.path(), &plain, &args));
        assert!(opened(&bytes) == plain, "{args:?}");
        let (content, findings) = identify(&VolumePath::whole(DiskNo(0)), &bytes);
        let Content::Luks(info) = content else { panic!("{content:?}") };
        assert_eq!((info.version, info.open, info.not_opened, findings.len()), (2, false, None, 0));
    }
}

/// The volume key, as cryptsetup prints it.
fn dumped(file: &str) -> Vec<u8> {
    let text = cryptsetup(&["luksDump", "--dump-volume-key", "--key-file", "-", file]);
    let at = text.find("MK dump:").map(|at| at + 8).unwrap();
    let digits = text[at..].split_whitespace().take_while(|w| w.len() == 2);
    digits.map(|w| u8::from_str_radix(w, 16).unwrap()).collect()
}

#[test]
fn keys_are_those_of_cryptsetup() {
    let dir = tempfile::tempdir().unwrap();
    let luks2 = ["--luks2-metadata-size", "16k", "--luks2-keyslots-size", "512k", "--offset", "4096"];
    let argon2i =
        ["--pbkdf", "argon2i", "--pbkdf-force-iterations", "5", "--pbkdf-memory", "64", "--pbkdf-parallel", "2"];
    let rounds = ["--pbkdf-force-iterations", "1000"];
    for (kind, args) in [
        ("luks1", [&["--hash", "sha1", "--key-size", "512"][..], &rounds].concat()),
        (
            "luks1",
            [&["--hash", "sha512", "--cipher", "aes-cbc-essiv:sha256", "--key-size", "128"][..], &rounds].concat(),
        ),
        ("luks2", [&luks2[..], &argon2i].concat()),
        ("luks2", [&luks2[..], &PBKDF2, &["--key-size", "256"]].concat()),
    ] {
        let path = blank(dir.path(), "header.img", 6 * MIB);
        let file = path.to_str().unwrap();
        cryptsetup(&[&["luksFormat", "--type", kind, "--key-file", "-"][..], &args, &[file]].concat());
        let bytes = image(&path);
        let header = read(&*bytes).unwrap().unwrap().header.unwrap();
        let key = open(&header, &*bytes, PASSPHRASE.as_bytes(), &ANY).unwrap();
        assert_eq!(key.key.bytes(), dumped(file), "{kind} {args:?}");
        let wrong = open(&header, &*bytes, b"correct hose", &ANY);
        assert!(matches!(wrong, Err(Refused::Wrong(not)) if not.is_empty()), "{kind}");
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn the_second_copy_opens_it_too_and_without_both_it_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let plain = plain();
    let path = encrypted(dir.path(), &plain, &ARGON);
    // In the JSON of the first copy.
    patch(&path, 5000, b"xx");
    let bytes = image(&path);
    let reading = read(&*bytes).unwrap().unwrap();
    assert!(reading.wrong.unwrap().contains("first copy"));
    assert!(opened(&bytes) == plain);
    let (content, findings) = identify(&VolumePath::whole(DiskNo(0)), &bytes);
    assert!(matches!(content, Content::Luks(_)) && findings.len() == 1, "{findings:?}");
    patch(&path, 0x4000 + 5000, b"xx");
    let bytes = image(&path);
    assert!(read(&*bytes).unwrap_err().to_string().contains("wrong checksum"));
    let (content, findings) = identify(&VolumePath::whole(DiskNo(0)), &bytes);
    assert_eq!(content, Content::Recognised { name: "luks".into(), sealed: false });
    assert!(findings[0].says.as_str().contains("wrong checksum"), "{findings:?}");
}

#[test]
fn what_cannot_be_opened_here_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let why = |path: &Path| read(&*image(path)).unwrap().unwrap().info.not_opened.unwrap().to_string();
    let small = ["--luks2-metadata-size", "16k", "--luks2-keyslots-size", "512k", "--offset", "4096"];
    let make = |name: &str, args: &[&str]| {
        let path = blank(dir.path(), name, 6 * MIB);
        let all = [
            &["luksFormat", "--type", "luks2", "--key-file", "-"][..],
            &small,
            &ARGON,
            args,
            &[path.to_str().unwrap()],
        ];
        cryptsetup(&all.concat());
        path
    };
    // One that this kernel need not have: only its name is looked at.
    let mut bytes = std::fs::read(make("cipher", &[])).unwrap();
    let known = b"aes-xts-plain64";
    let places: Vec<usize> = (0..0x4000).filter(|at| bytes[*at..].starts_with(known)).collect();
    places.iter().for_each(|at| bytes[*at..at + 3].copy_from_slice(b"rot"));
    resum(&mut bytes);
    let named = read(&bytes).unwrap().unwrap().info.not_opened.unwrap();
    assert_eq!(named.as_str(), "its cipher is rot-xts-plain64, which is not read by this version");
    // Begun and not gone on with.
    let begun = make("begun", &[]);
    let file = begun.to_str().unwrap();
    let args = ["reencrypt", "--init-only", "--resilience", "checksum", "--key-file", "-"];
    cryptsetup(&[&args[..], &ARGON, &[file]].concat());
    assert!(why(&begun).contains("not finished"), "{}", why(&begun));
    // No key slot is left.
    let empty = make("empty", &[]);
    let (done, said) = attempt("cryptsetup-bin", "cryptsetup", &["-q", "luksErase", empty.to_str().unwrap()], "");
    assert!(done, "{said}");
    assert!(why(&empty).contains("no key slot"), "{}", why(&empty));
}

/// What asks for more than the machine has is passed over, and said.
#[test]
fn hungry_slots_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = encrypted(dir.path(), &plain(), &ARGON);
    let bytes = image(&path);
    let header = read(&*bytes).unwrap().unwrap().header.unwrap();
    let little = Attempt { memory: ByteLen(16 << 10), ..ANY };
    let Err(Refused::Wrong(not)) = open(&header, &*bytes, PASSPHRASE.as_bytes(), &little) else { panic!("opened") };
    assert_eq!(not, ["key slot 0 asks for 32.7 kB of memory, and 16.3 kB can be spared here"]);
}

/// Any bytes may stand in a header whose checksum is right: no panic, and no header that leads out of its volume.
#[test]
fn mutants_of_headers_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let path = encrypted(dir.path(), &plain(), &ARGON);
    let whole = std::fs::read(&path).unwrap();
    let mut seeded = Seeded(11);
    let mut sound = 0;
    for _ in 0..400 {
        let mut bytes = whole.clone();
        // Neither the copies' sizes nor their checksums: those are tried below.
        for _ in 0..1 + seeded.below(3) {
            let at = 4096 + usize::try_from(seeded.below(1400)).unwrap();
            bytes[at] = match seeded.below(3) {
                0 => seeded.byte(),
                1 => b'0' + u8::try_from(seeded.below(10)).unwrap(),
                _ => b"{}[]\",:"[usize::try_from(seeded.below(7)).unwrap()],
            };
        }
        resum(&mut bytes);
        bytes[0x4000..0x4006].fill(0);
        let bytes: Arc<dyn ReadAt> = Arc::new(bytes);
        let Ok(Some(reading)) = read(&*bytes) else { continue };
        if let Ok(header) = reading.header {
            assert!(header.is_sound(bytes.size()));
            sound += 1;
        }
    }
    assert!(sound > 20, "{sound}");
    for _ in 0..200 {
        let mut bytes = whole[..65_536].to_vec();
        let at = usize::try_from(seeded.below(512)).unwrap();
        bytes[at] = seeded.byte();
        bytes[0x4000 + at] = seeded.byte();
        let _ = read(&bytes);
    }
}

/// Makes the checksum of the first copy right (SHA-256 over it, its own field being zero).
fn resum(bytes: &mut [u8]) {
    bytes[448..512].fill(0);
    let sum = model::id::Digest::of(&bytes[..0x4000]);
    bytes[448..480].copy_from_slice(&sum.0);
}
