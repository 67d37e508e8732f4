//! Which files are as they were in an earlier state of the file system, told by their inodes alone.
//!
//! Why that can be told: whoever writes to a file through the kernel changes its times first (`file_update_time`, for writes
//! and for pages of a mapping that become writable), to the nanosecond of a clock that runs on; and a session that ends in
//! order has brought both the data and the times to the disk. A session that is cut off may have brought the data alone. So
//! there must have been one session only, and it must have ended in order: the mount count says the first, the state
//! of the file system and of the installed system the second.
//!
//! What is written with no trace in an inode is never taken to be the same: everything that is not a file's data (directories,
//! inode tables, maps, the journal, quotas), swap files, encrypted files that may be swap files, and files that boot loaders write
//! in place.
//!
//! Each rule has a name ([`Rule`]), by which a test leaves it out and shows what goes wrong then.

use super::MOST_LOG_BLOCKS;
use super::inode::{Inode, same_but_access};
use super::loaders::{loaders, may_be_environment};
use super::log::Log;
use super::map::{look_up, nodes};
use super::reader::Reader;
use super::rules::{Rule, Rules};
use super::superblock::{JournalPlace, Superblock};
use crate::fs::FsError;
use crate::swap;
use model::coverage::{Changes, Comparison};
use model::id::Digest;
use model::ports::ReadAt;
use model::units::{ByteLen, Extent, ExtentSet};
use std::sync::Arc;

/// Look-ups for all files together, per block of the volume, as for cuts.
const LOOK_UPS_PER_BLOCK: u64 = 2;
/// Inode tables are compared in pieces of this many bytes.
const PIECE: u64 = 256 << 10;
/// Seconds between a mount and what was written later, at least: the mount writes both times itself, one after the other.
const LEAST_SESSION: i64 = 2;
/// `mkswap` refuses less than ten pages.
const LEAST_SWAP: u64 = 10 * 4096;

/// What `now`, a file system that was unmounted and whose maps are trusted, has in common with `before`.
pub(super) fn changes(now: &Arc<Reader>, before: Arc<dyn ReadAt>, rules: Rules) -> Changes {
    let earlier = match Superblock::read(&*before) {
        Ok(Some(sb)) => Reader::new(before, sb),
        Ok(None) => return Changes::unknown("the snapshot before has no ext file system there"),
        Err(e) => return Changes::unknown(&format!("as it was in the snapshot before it cannot be read ({e})")),
    };
    let comparison = match since(now, &earlier, rules) {
        Ok(comparison) => comparison,
        Err(why) => return Changes::unknown(&why),
    };
    let left = now.sb.blocks.saturating_mul(LOOK_UPS_PER_BLOCK);
    let loaders = match loaders(now) {
        Ok(loaders) if rules.keep(Rule::Loaders) => loaders,
        Ok(_) => Vec::new(),
        Err(e) => return Changes::unknown(&format!("the files of its boot loader could not be found ({e})")),
    };
    let found = Same { now, earlier: &earlier, rules, loaders, left, same: Vec::new() };
    let (why, same) = match comparison {
        Comparison::Untouched => {
            let all = Extent::whole(now.bytes().size());
            // The boot block is the boot loader's too.
            let boot = Extent::between(0, super::superblock::AT.0).filter(|_| rules.keep(Rule::BootBlock));
            let boot: ExtentSet = boot.into_iter().collect();
            ("nobody wrote to it since", found.restless().map(|set| set.union(&boot).gaps(all)))
        }
        _ => ("one session since, which ended in order", found.files()),
    };
    match same {
        Ok(same) => Changes { comparison, why: why.into(), same },
        Err(e) => Changes::unknown(&format!("its inodes cannot be compared ({e})")),
    }
}

/// How much the superblocks and the journal prove: [`Comparison::Untouched`] or [`Comparison::Metadata`], or why nothing.
fn since(now: &Arc<Reader>, earlier: &Reader, rules: Rules) -> Result<Comparison, String> {
    let (sb, old) = (&now.sb, &earlier.sb);
    let broken = |rule: Rule, broken: bool| broken && rules.keep(rule);
    let journal = sb.journal();
    if broken(Rule::OwnJournal, !matches!(journal, JournalPlace::Inode(_))) {
        return Err("it has no journal of its own".to_owned());
    }
    if broken(Rule::ParentUnmounted, old.needs_recovery() || old.has_errors() || !old.was_unmounted()) {
        return Err("the snapshot before has it as it was while in use".to_owned());
    }
    if broken(Rule::NowUnmounted, sb.needs_recovery() || !sb.was_unmounted()) {
        return Err("it was not unmounted".to_owned());
    }
    if broken(Rule::SameLayout, !sb.is_laid_out_as(old)) {
        return Err("it was made anew, resized or changed in kind since".to_owned());
    }
    if !broken(Rule::SameSuperblock, sb.bytes() != old.bytes())
        && !broken(Rule::SameJournal, !same_journal(now, earlier, journal))
    {
        return Ok(Comparison::Untouched);
    }
    if broken(Rule::NoDataInJournal, sb.journals_data() || old.journals_data()) {
        return Err("its journal holds the data of files too".to_owned());
    }
    let (is, was) = (sb.info(), old.info());
    if broken(Rule::SameMaking, (is.made_at, is.checked_at) != (was.made_at, was.checked_at)) {
        return Err("it was made anew or checked since".to_owned());
    }
    if broken(Rule::OneSession, was.mount_count.checked_add(1) != Some(is.mount_count)) {
        let sessions = i32::from(is.mount_count) - i32::from(was.mount_count);
        return Err(format!("{sessions} sessions since, by its mount count: one of them may have been cut off"));
    }
    if broken(Rule::NothingReplayed, !ended_in_order(now, earlier, journal)) {
        return Err("its journal may have been replayed since: its last session may have been cut off".to_owned());
    }
    // When it was last written to is not told by a root that ends mounted read-only (`ext4_update_super`): it may be of old.
    let went_back = is.mounted_at < was.mounted_at.max(was.written_at) || is.written_at < was.written_at;
    if broken(Rule::Forwards, went_back || is.kbytes_written < was.kbytes_written) {
        return Err("its clock or its counters went backwards".to_owned());
    }
    Ok(Comparison::Metadata)
}

/// Whether the last session ended by itself, and was not cut off and its journal replayed by somebody who only looked: that leaves a clean
/// file system too, and no mount count.
///
/// A root that is made read-only leaves a journal whose next transaction is the one after the newest (`jbd2_journal_flush`), and a replay
/// passes over one (`jbd2_journal_recover`: `++info.end_transaction`). To unmount may pass over one as well, and writes the time
/// (`ext4_put_super`), which a replay by a kernel that mounts to read does not (`ext4_update_super`), and mounting did before. Where nothing was
/// logged, the time alone tells. Of a journal that lies elsewhere another rule tells.
fn ended_in_order(now: &Arc<Reader>, earlier: &Reader, journal: JournalPlace) -> bool {
    let JournalPlace::Inode(inode) = journal else { return true };
    let info = now.sb.info();
    let unmounted = info.written_at.saturating_sub(info.mounted_at) >= LEAST_SESSION;
    if same_journal(now, earlier, journal) {
        return unmounted;
    }
    let end = Log::open(now, inode).and_then(|mut log| log.end(MOST_LOG_BLOCKS));
    let Ok(Some((newest, next))) = end else { return false };
    newest.sequence.wrapping_add(1) == next || unmounted && newest.at.is_none_or(|at| info.written_at >= at)
}

/// True where the journal's superblock is the same: nothing was logged.
fn same_journal(now: &Reader, earlier: &Reader, journal: JournalPlace) -> bool {
    matches!((head_of(now, journal), head_of(earlier, journal)), (Some(a), Some(b)) if a == b)
}

/// The first block of a journal within the file system: its superblock.
fn head_of(reader: &Reader, journal: JournalPlace) -> Option<Arc<[u8]>> {
    let JournalPlace::Inode(journal) = journal else { return None };
    let inode = reader.inode(journal).ok()?;
    reader.block(look_up(reader, &inode, 0).ok()?.at?).ok()
}

/// Names the state of a file system that was unmounted: the hash of its superblock, which every mount that may write changes before
/// anything else is written (`ext4_setup_super`), and of its journal's, which changes with all that is logged. `None` where it has no
/// journal of its own or was not unmounted: the same as [`Comparison::Untouched`] asks for.
pub(super) fn state(reader: &Reader) -> Option<Digest> {
    let sb = &reader.sb;
    if sb.needs_recovery() || sb.has_errors() || !sb.was_unmounted() {
        return None;
    }
    let log = head_of(reader, sb.journal())?;
    Some(Digest::of(&[sb.bytes(), &log[..]].concat()))
}

struct Same<'a> {
    now: &'a Reader,
    earlier: &'a Reader,
    rules: Rules,
    /// Those of boot loaders that are where they usually are.
    loaders: Vec<Inode>,
    left: u64,
    same: Vec<Extent>,
}

impl Same<'_> {
    /// Where the data of files lies that are as they were.
    fn files(mut self) -> Result<ExtentSet, FsError> {
        // What bears a time after the session began tells nothing.
        let last = self.now.sb.info().mounted_at;
        self.each_inode(&mut |found, inode| {
            let same = found.is_old(inode, last) && !found.is_restless(inode)? && found.same_nodes(inode)?;
            if same { found.take(inode) } else { Ok(()) }
        })?;
        Ok(self.same.into())
    }

    /// Where the data of files lies that boot loaders may write while the file system is not mounted. Nothing but these is looked for:
    /// to read all inodes would be most of what an untouched file system costs.
    fn restless(mut self) -> Result<ExtentSet, FsError> {
        for inode in std::mem::take(&mut self.loaders) {
            self.take(&inode)?;
        }
        Ok(self.same.into())
    }

    /// True where the inode keeps its times to the nanosecond, and was last changed before the session that began at `began`
    /// (seconds since 1970).
    fn is_old(&self, inode: &Inode, began: i64) -> bool {
        match inode.changed() {
            Some(at) => at <= began || !self.rules.keep(Rule::BeforeSession),
            None => !self.rules.keep(Rule::Nanoseconds),
        }
    }

    /// Takes the blocks of the inode tables that are as they were, and hands on every file with data of its own whose inode is. A group or an
    /// inode that is damaged is left out.
    fn each_inode(&mut self, each: &mut dyn FnMut(&mut Self, &Inode) -> Result<(), FsError>) -> Result<(), FsError> {
        let (now, earlier) = (self.now, self.earlier);
        let sb = &now.sb;
        let (len, size) = (usize::try_from(sb.inode_size).expect("at most a block"), u64::from(sb.inode_size));
        for no in 0..sb.groups {
            let (group, old) = (now.group(no)?, earlier.group(no)?);
            if !group.checksum_holds || !old.checksum_holds || group.inode_table != old.inode_table {
                continue;
            }
            let begun = group.inodes_begun(sb).min(old.inodes_begun(sb));
            let table = now.place(group.inode_table)?;
            let block = u64::from(sb.block_size);
            // Whole blocks: they can be told to be the same.
            let whole = sb.itable_blocks() * block;
            if sb.blocks.checked_sub(group.inode_table).is_none_or(|after| after < sb.itable_blocks()) {
                continue;
            }
            let (mut at, end) = (0, (u64::from(begun) * size).next_multiple_of(block).min(whole));
            if group.has_the_unused_of(&old) || !self.rules.keep(Rule::UnusedInodes) {
                self.same.extend(Extent::between(table.0 + end, table.0 + whole));
            }
            while at < end {
                let part = usize::try_from((end - at).min(PIECE)).expect("a piece");
                let place = table.checked_add(ByteLen(at));
                let place = place.ok_or_else(|| FsError::Corrupt("an inode table past the end".to_owned()))?;
                let is = now.bytes().read_vec(place, part)?;
                let was = earlier.bytes().read_vec(place, part)?;
                let first = no * sb.inodes_per_group + 1 + u32::try_from(at / size).expect("an inode of the group");
                let blocks = is.chunks(now.block_len()).zip(was.chunks(now.block_len()));
                for (nth, _) in (0..).zip(blocks).filter(|(_, (is, was))| is == was) {
                    let start = place.0 + nth * block;
                    self.same.extend(Extent::between(start, start + block));
                }
                for ((number, is), was) in (first..).zip(is.chunks_exact(len)).zip(was.chunks_exact(len)) {
                    if let Some(inode) = self.candidate(number, is, was) {
                        each(self, &inode)?;
                    }
                }
                at += part as u64;
            }
        }
        Ok(())
    }

    /// The inode of a file of its own, with data in blocks.
    fn candidate(&self, number: u32, is: &[u8], was: &[u8]) -> Option<Inode> {
        let sb = &self.now.sb;
        let hidden = number < sb.first_inode() || sb.hidden_inodes().contains(&number);
        let passed_over = hidden && self.rules.keep(Rule::OwnInodes)
            || !is_regular(is) && self.rules.keep(Rule::Regular)
            || !same_but_access(is, was, self.rules.ignored_fields());
        if passed_over { None } else { Inode::parse(sb, number, is).ok().filter(|i| !i.is_inline()) }
    }

    /// True where the file's data may be written with no trace in its inode.
    fn is_restless(&mut self, inode: &Inode) -> Result<bool, FsError> {
        if self.is_of_a_loader(inode) {
            return Ok(true);
        }
        if inode.size < LEAST_SWAP || !inode.size.is_multiple_of(4096) || !self.rules.keep(Rule::Swap) {
            return Ok(false);
        }
        // The kernel takes an encrypted file for swap space like any other, and pages go past the encryption.
        if inode.is_encrypted() && self.rules.keep(Rule::EncryptedSwap) {
            return Ok(true);
        }
        for page in swap::PAGES {
            let signature = u64::from(page) - 10;
            let block = u64::from(self.now.sb.block_size);
            self.spend()?;
            // Within a block: a page ends where a block does, or inside one.
            if let Some(at) = look_up(self.now, inode, signature / block)?.at {
                let bytes = self.now.block(at)?;
                let within = usize::try_from(signature % block).expect("less than a block");
                if bytes.get(within..within + 10).is_some_and(swap::is_signature) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// True for a file that a boot loader may write in place.
    fn is_of_a_loader(&self, inode: &Inode) -> bool {
        let known = self.loaders.iter().any(|l| l.number == inode.number);
        let kept = |rule| self.rules.keep(rule);
        known || may_be_environment(inode) && kept(Rule::Loaders) || inode.is_peculiar() && kept(Rule::Peculiar)
    }

    /// True where the nodes of the file's map are as they were: its root is, being part of the inode.
    fn same_nodes(&mut self, inode: &Inode) -> Result<bool, FsError> {
        if !self.rules.keep(Rule::Nodes) {
            return Ok(true);
        }
        let Ok(nodes) = nodes(self.now, inode, self.left, &mut |_| true) else { return Ok(false) };
        for node in nodes {
            self.spend()?;
            let old = self.earlier.bytes().read_vec(self.now.place(node)?, self.now.block_len())?;
            if *self.now.block(node)? != *old {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes the file's written blocks, as far as its map holds together. What is allocated and not written may hold anything.
    fn take(&mut self, inode: &Inode) -> Result<(), FsError> {
        let size = u64::from(self.now.sb.block_size);
        let blocks = inode.size.div_ceil(size);
        let (mut block, taken) = (0, self.same.len());
        while block < blocks {
            self.spend()?;
            let Ok(run) = look_up(self.now, inode, block) else {
                self.same.truncate(taken);
                return Ok(());
            };
            if let Some(at) = run.at {
                let len = run.len.min(blocks - block);
                self.same.extend(Extent::between(at * size, (at + len) * size));
            }
            block = block.saturating_add(run.len);
        }
        Ok(())
    }

    /// Counts a look-up: a file system made to be read for ever gets no further than an honest one.
    fn spend(&mut self) -> Result<(), FsError> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(FsError::Corrupt("its files have more blocks than the volume".to_owned())),
        }
    }
}

/// `S_IFREG`, with a name somewhere.
fn is_regular(inode: &[u8]) -> bool {
    let le16 = |at| crate::numbers::le16(inode, at);
    le16(0) & 0xf000 == 0x8000 && le16(0x1a) != 0
}
