//! What starts a Windows, as far as that is looked at: its boot manager on the EFI system partition.

use super::{Checker, Told};
use crate::system::windows::{ESP, LOADER};
use model::boot::{LinkPart, Way};

const ADVICE: &str = "a rollback of the EFI system partition alone (`--only`) writes it again as it was saved; so does `bcdboot`, from Windows' own rescue system";

impl Checker<'_> {
    /// Judges the boot manager. What it goes on to (its configuration is a registry, its loader lies on the root) is not looked into.
    pub(super) fn windows(&mut self) {
        let esps = self.system.boot.iter().filter(|(name, _)| name == ESP).map(|(_, esp)| esp.clone());
        for esp in esps.collect::<Vec<_>>() {
            let program = self.program(&esp, LOADER);
            let (path, volume) = (Some(LOADER.to_owned()), esp);
            let told = Told { part: LinkPart::Loader, way: Way::Uefi, volume, path, needed: true };
            self.seen(told, program.seen, ADVICE);
        }
    }
}
