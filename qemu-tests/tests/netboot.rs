//! Over PXE: the network card's ROM fetches the iPXE script, the kernel and the initramfs by TFTP. Without a stick there is no
//! store; the rescue says so, and still tells what happened.

use qemu_tests::machine::{Bus, Parts, overlay};
use qemu_tests::rescue::Session;
use qemu_tests::{Result, rescue, target, workspace};
use std::process::Command;

fn main() -> Result<()> {
    let folder = workspace::scratch("netboot")?;
    let bundle = folder.join("bundle");
    let built = Command::new(env!("CARGO"))
        .args(["image", "netboot", "-o"])
        .arg(&bundle)
        .current_dir(workspace::root())
        .status()?;
    if !built.success() {
        return Err("the netboot bundle could not be built".into());
    }
    let disk = overlay(&target::debian(&mut |text| println!("{text}"))?, &folder.join("disk.qcow2"))?;
    let network = format!("user,id=n0,restrict=on,tftp={},bootfile=holdfast.ipxe", bundle.display());
    let mut parts = Parts::new("netboot", &folder).memory(rescue::MEMORY);
    // The card first in boot order, the disk behind it.
    parts = parts.with(&["-netdev", &network, "-device", "virtio-net-pci,netdev=n0,bootindex=0"]);
    parts.disks_boot_after = 1;
    let session = Session::start(&parts.disk(&disk, Bus::Sata, "TARGET"))?;
    let screen = session.screen();
    println!("{screen}");
    for word in ["Debian GNU/Linux", "no store: can only look"] {
        if !screen.contains(word) {
            return Err(format!("the screen does not say {word:?}").into());
        }
    }
    session.poweroff()
}
