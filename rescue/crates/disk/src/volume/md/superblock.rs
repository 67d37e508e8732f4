//! The superblocks of md (kernel `include/uapi/linux/raid/md_p.h`; where they stand and how they are summed: `drivers/md/md.c`,
//! `super_90_load`, `super_1_load`, `calc_sb_csum`, `calc_sb_1_csum`).

use crate::numbers::{le16, le32, le64};
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset, Extent};

const SECTOR: u64 = 512;
/// `MD_SB_MAGIC`, little-endian.
const MAGIC: u32 = 0xa92b_4efc;
/// `MD_RESERVED_BYTES`: of format 0.90, the last whole 64 KiB of a member.
const RESERVED: u64 = 64 << 10;
/// Roles that are none (`MD_DISK_ROLE_MAX`).
const MOST_ROLES: u32 = 0xff00;
/// Most members that are looked at: `max_dev` of a superblock of 4 KiB is at most 1920.
const MOST_MEMBERS: u32 = 1920;
/// Features that change nothing of where bytes lie: a bitmap, a list of bad blocks' kind of space, and the layout of RAID 0 being told.
const BITMAP: u32 = 1;
const RAID0_LAYOUT: u32 = 1 << 12;
const BAD_BLOCKS: u32 = 1 << 3;

/// A superblock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Superblock {
    /// The array's UUID: 32 hexadecimal digits.
    pub(super) array: String,
    /// The member's own; of format 0.90 made of the array's and the member's number.
    pub(super) member: String,
    pub(super) name: String,
    pub(super) level: i32,
    pub(super) layout: u32,
    pub(super) chunk: ByteLen,
    pub(super) members: u32,
    /// What of each member the array uses, where levels need members of one size; zero where not.
    pub(super) size: ByteLen,
    /// What of this member has the array's bytes.
    pub(super) data: Extent,
    /// Its place; `None` for a spare, or a member that failed.
    pub(super) role: Option<u32>,
    /// Which places have a member that is in order, as this one knows.
    pub(super) active: Vec<bool>,
    pub(super) events: u64,
    /// It was stopped in order, and its mirrors are alike.
    pub(super) clean: bool,
    /// Why it cannot be told where bytes lie, where that is so.
    pub(super) unread: Option<String>,
}

fn hex(bytes: &[u8]) -> String {
    model::hex::encode(bytes)
}

/// Sectors as bytes.
fn bytes(sectors: u64) -> Option<u64> {
    sectors.checked_mul(SECTOR)
}

/// Finds the superblock of a member; an error says what is wrong with the one that looks like it.
pub(super) fn read(member: &dyn ReadAt) -> Result<Superblock, String> {
    let size = member.size().0;
    let sectors = size / SECTOR;
    // 1.1 and 1.2 at the start, 1.0 at the end.
    let mut places = vec![0, 4096];
    places.extend(sectors.checked_sub(16).map(|s| (s & !7) * SECTOR));
    let mut wrong = "no superblock of md stands where one may".to_owned();
    for at in places {
        let Ok(head) = member.read_vec(ByteOffset(at), 256) else { continue };
        if le32(&head, 0) == MAGIC && le32(&head, 4) == 1 && le64(&head, 144) == at / SECTOR {
            match version_1(member, at, head) {
                Ok(found) => return Ok(found),
                Err(why) => wrong = why,
            }
        }
    }
    if let Some(at) = (size & !(RESERVED - 1)).checked_sub(RESERVED)
        && let Ok(block) = member.read_vec(ByteOffset(at), 4096)
        && le32(&block, 0) == MAGIC
        && le32(&block, 4) == 0
    {
        return version_0(&block, at);
    }
    Err(wrong)
}

/// The sum of 32-bit words, with what is carried out added once; 16 bits that are left over count by themselves.
fn sum(block: &[u8]) -> u32 {
    let words = block.chunks(4).map(|w| if w.len() == 4 { u64::from(le32(w, 0)) } else { u64::from(le16(w, 0)) });
    let all: u64 = words.fold(0, u64::wrapping_add);
    let folded = (all & 0xffff_ffff).wrapping_add(all >> 32);
    u32::try_from(folded & 0xffff_ffff).unwrap_or(0)
}

fn version_1(member: &dyn ReadAt, at: u64, head: Vec<u8>) -> Result<Superblock, String> {
    let most = le32(&head, 220);
    if most > MOST_MEMBERS {
        return Err(format!("its superblock at {at} has room for {most} members"));
    }
    let len = 256 + usize::try_from(most).unwrap_or(0) * 2;
    let mut block = member.read_vec(ByteOffset(at), len).map_err(|e| e.to_string())?;
    let told = le32(&block, 216);
    block[216..220].fill(0);
    if sum(&block) != told {
        return Err(format!("the checksum of its superblock at {at} is wrong"));
    }
    let features = le32(&head, 8);
    let members = le32(&head, 92);
    let roles: Vec<u32> = (0..usize::try_from(most).unwrap_or(0)).map(|n| le16(&block, 256 + 2 * n).into()).collect();
    let number = usize::try_from(le32(&head, 160)).unwrap_or(usize::MAX);
    let role = roles.get(number).copied().filter(|r| *r < MOST_ROLES && *r < members);
    let start = bytes(le64(&head, 128)).ok_or("its data lies past any disk")?;
    let length = bytes(le64(&head, 136)).ok_or("its data has no end")?;
    let data = Extent::new(ByteOffset(start), ByteLen(length)).filter(|d| d.end().0 <= member.size().0);
    let text = head[32..64].split(|b| *b == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text).into_owned();
    let unread = match features & !(BITMAP | RAID0_LAYOUT) {
        0 => None,
        BAD_BLOCKS => Some("a member of it has bad blocks".to_owned()),
        other => Some(format!("it is being changed, or is of a kind that is not known here (features {other:#x})")),
    };
    Ok(Superblock {
        array: hex(&head[16..32]),
        member: hex(&head[168..184]),
        // `host:name`.
        name: text.rsplit(':').next().unwrap_or_default().to_owned(),
        level: i32::from_le_bytes(head[72..76].try_into().map_err(|_| "short")?),
        layout: le32(&head, 76),
        chunk: ByteLen(bytes(le32(&head, 88).into()).unwrap_or(0)),
        members,
        size: ByteLen(bytes(le64(&head, 80)).unwrap_or(0)),
        data: data.ok_or("its data does not lie within it")?,
        role,
        active: active(members, roles.iter().copied()),
        events: le64(&head, 200),
        clean: le64(&head, 208) == u64::MAX,
        unread,
    })
}

fn version_0(block: &[u8], at: u64) -> Result<Superblock, String> {
    let mut plain = block.to_vec();
    let told = le32(block, 152);
    plain[152..156].fill(0);
    if sum(&plain) != told {
        return Err(format!("the checksum of its superblock at {at} is wrong"));
    }
    let members = le32(block, 40);
    // `mdp_disk_t`: number, major, minor, place, state; of each member, and of this one at the end. State: failed 1, active 2, in sync 4.
    let disk = |at: usize| (le32(block, at + 12), le32(block, at + 16));
    let in_order = |state: u32| state & 0b111 == 0b110;
    let (place, state) = disk(4096 - 128);
    let roles = (0..27).map(|n| disk(512 + n * 128)).filter(|(_, s)| in_order(*s)).map(|(place, _)| place);
    let set = [&block[20..24], &block[52..64]].concat();
    // 0.91 is an array that is being reshaped.
    let unread = (le32(block, 8) != 90).then(|| "it is being changed".to_owned());
    let array = hex(&set);
    let size = ByteLen(u64::from(le32(block, 32)).saturating_mul(1024));
    let level = i32::from_le_bytes(block[28..32].try_into().map_err(|_| "short")?);
    // RAID 0 and linear use all before the superblock, in whole chunks.
    let all = if level < 1 { ByteLen(at) } else { size };
    Ok(Superblock {
        member: format!("{array}-{}", le32(block, 4096 - 128)),
        array,
        name: le32(block, 44).to_string(),
        level,
        layout: le32(block, 256),
        chunk: ByteLen(le32(block, 260).into()),
        members,
        size,
        data: Extent::new(ByteOffset(0), all).filter(|d| d.end().0 <= at).ok_or("its data does not lie within it")?,
        role: Some(place).filter(|p| *p < members && in_order(state)),
        active: active(members, roles),
        events: u64::from(le32(block, 160)) << 32 | u64::from(le32(block, 156)),
        // MD_SB_CLEAN.
        clean: le32(block, 132) & 1 == 1,
        unread,
    })
}

/// Which of so many places are among these.
fn active(members: u32, roles: impl Iterator<Item = u32>) -> Vec<bool> {
    let mut out = vec![false; usize::try_from(members.min(MOST_MEMBERS)).unwrap_or(0)];
    for role in roles {
        if let Some(place) = usize::try_from(role).ok().and_then(|r| out.get_mut(r)) {
            *place = true;
        }
    }
    out
}
