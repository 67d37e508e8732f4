use super::*;
use proptest::prelude::*;

fn base(size: usize) -> Arc<dyn ReadAt> {
    Arc::new((0..size).map(|i| u8::try_from(i % 251).unwrap()).collect::<Vec<u8>>())
}

fn all(of: &dyn ReadAt) -> Vec<u8> {
    of.read_vec(ByteOffset(0), of.size().to_usize().unwrap()).unwrap()
}

fn room(memory: u64, most: u64) -> Arc<Room> {
    Room::new(ByteLen(memory), ByteLen(most), std::env::temp_dir())
}

#[derive(Debug, Clone)]
enum Step {
    Write(usize, usize, u8),
    Zero(usize, usize),
    View,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = || (0usize..40_000, 0usize..12_000);
    let write = (place(), 0u8..3).prop_map(|((at, len), byte)| Step::Write(at, len, byte));
    let zero = place().prop_map(|(at, len)| Step::Zero(at, len));
    prop::collection::vec(prop_oneof![4 => write, 2 => zero, 1 => Just(Step::View)], 1..40)
}

proptest! {
    /// It is the disk with what was written, a view is what it was then, and what lies below is never changed, be the
    /// pages in memory or in the scratch file.
    #[test]
    fn it_holds_what_was_written(size in 1usize..40_000, memory in 0u64..4, steps in steps()) {
        let base = base(size);
        let before = all(&*base);
        let overlay = Overlay::new(base.clone(), room(memory * 4096, 1 << 30));
        let mut model = before.clone();
        let mut views = Vec::new();
        for step in steps {
            match step {
                Step::Write(at, len, byte) => {
                    let bytes = vec![byte; len];
                    let fits = at + len <= size;
                    prop_assert_eq!(overlay.write(ByteOffset(at as u64), &bytes).is_ok(), fits);
                    if fits {
                        model[at..at + len].copy_from_slice(&bytes);
                    }
                }
                Step::Zero(at, len) => {
                    let fits = at + len <= size;
                    prop_assert_eq!(overlay.zero(ByteOffset(at as u64), ByteLen(len as u64)).is_ok(), fits);
                    if fits {
                        model[at..at + len].fill(0);
                    }
                }
                Step::View => views.push((overlay.view(), model.clone())),
            }
            let (from, to) = (size / 3, size - size / 7);
            let part = overlay.read_vec(ByteOffset(from as u64), to - from).unwrap();
            prop_assert!(part == model[from..to]);
        }
        prop_assert!(all(&*overlay) == model);
        for (view, then) in views {
            prop_assert!(all(&*view) == then);
        }
        prop_assert!(all(&*base) == before);
    }
}

#[test]
fn a_full_room_is_said_and_what_is_there_stays() {
    let room = room(4096, 3 * 4096);
    let overlay = Overlay::new(base(1 << 20), room.clone());
    for no in 0..3 {
        overlay.write(ByteOffset(no * 4096), &[7; 4096]).unwrap();
    }
    // The same places again take no more room.
    overlay.write(ByteOffset(4096), &[8; 4096]).unwrap();
    overlay.zero(ByteOffset(0), ByteLen(4096)).unwrap();
    assert_eq!(room.full(), None);
    assert_eq!(overlay.changed().iter().collect::<Vec<_>>(), [Extent::between(0, 3 * 4096).unwrap()]);
    let e = overlay.write(ByteOffset(3 * 4096), &[9; 4096]).unwrap_err();
    assert_eq!(e.kind(), io::ErrorKind::StorageFull);
    assert!(room.full().unwrap().as_str().contains("more than"), "{:?}", room.full());
    let e = overlay.zero(ByteOffset(4 * 4096), ByteLen(1 << 19)).unwrap_err();
    assert_eq!(e.kind(), io::ErrorKind::StorageFull, "zeros are remembered too");
    assert_eq!(overlay.read_vec(ByteOffset(4096), 4096).unwrap(), [8; 4096]);
}

#[test]
fn what_is_not_used_any_more_is_used_again() {
    let room = room(0, 2 * 4096);
    let overlay = Overlay::new(base(1 << 20), room.clone());
    for byte in 0..200 {
        overlay.write(ByteOffset(0), &[byte | 1; 2 * 4096]).unwrap();
    }
    assert!(lock(&room.scratch).pages <= 4);
    let view = overlay.view();
    overlay.write(ByteOffset(0), &[2; 2 * 4096]).unwrap();
    assert_eq!(view.read_vec(ByteOffset(0), 1).unwrap(), [199]);
}

#[test]
fn no_place_for_a_scratch_file_is_said() {
    let room = Room::new(ByteLen(0), ByteLen(1 << 20), "/nonexistent".into());
    let overlay = Overlay::new(base(8192), room.clone());
    assert!(overlay.write(ByteOffset(0), &[1]).is_err());
    assert!(room.full().unwrap().as_str().contains("/nonexistent"));
}
