//! On UEFI, through Debian's signed shim and GRUB, from a USB stick: the rescue starts, and sees an NVMe target that starts on
//! UEFI itself.

use qemu_tests::machine::{Bus, Firmware, Parts, overlay};
use qemu_tests::rescue::Session;
use qemu_tests::{Result, rescue, target, workspace};

fn main() -> Result<()> {
    let folder = workspace::scratch("uefi")?;
    let image = rescue::image()?;
    let disk = overlay(&target::debian(&mut |text| println!("{text}"))?, &folder.join("disk.qcow2"))?;
    let stick = rescue::stick(&image, &folder.join("stick.qcow2"))?;
    let parts = Parts::new("uefi", &folder)
        .firmware(Firmware::Uefi)
        .memory(rescue::MEMORY)
        .disk(&stick, Bus::Usb, "STICK")
        .disk(&disk, Bus::Nvme, "TARGET");
    let session = Session::start(&parts)?;
    let screen = session.screen();
    println!("{screen}");
    for word in ["Debian GNU/Linux", "never started"] {
        if !screen.contains(word) {
            return Err(format!("the screen does not say {word:?}").into());
        }
    }
    session.poweroff()
}
