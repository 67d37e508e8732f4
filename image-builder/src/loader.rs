//! What the loaders are told: the kernel command line and GRUB's menu.

/// Where the kernel and its messages show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// On the serial line and the screen; the screen is preferred.
    Both,
    /// On the serial line only: machines whose screen only gets in the way.
    Serial,
}

/// The kernel command line. `store` is the GUID of the store partition.
pub fn command_line(store: Option<&str>, screen: Screen, quiet: bool) -> String {
    let mut words = Vec::new();
    words.extend(store.map(|guid| format!("holdfast.store={guid}")));
    words.push(if quiet { "quiet loglevel=3".to_owned() } else { "ignore_loglevel".to_owned() });
    // The last is the preferred one: the kernel gives it to PID 1 as /dev/console.
    words.push("console=ttyS0,115200".to_owned());
    if screen == Screen::Both {
        words.push("console=tty0".to_owned());
    }
    words.join(" ")
}

/// Path of the kernel on the ESP.
pub const KERNEL: &str = "holdfast/vmlinuz";
/// Path of the initramfs on the ESP.
pub const INITRAMFS: &str = "holdfast/initramfs.zst";

/// GRUB's menu, the same for BIOS and UEFI. GRUB's root is the partition it was started from.
pub fn menu(store: &str, release: &str) -> String {
    let started = |title: &str, id: &str, line: String| {
        format!(
            "menuentry \"{title}\" --id {id} {{\n\techo \"Starting Holdfast ...\"\n\tlinux /{KERNEL} {line}\n\tinitrd /{INITRAMFS}\n}}\n"
        )
    };
    let entry = |title: &str, id: &str, screen, quiet| started(title, id, command_line(Some(store), screen, quiet));
    // Whoever wants it at each start makes it the default, in this file.
    let by_itself = format!("{} holdfast.policy=auto", command_line(Some(store), Screen::Both, true));
    let mut text = String::from(HEAD);
    text += &entry(&format!("Holdfast rescue (Linux {release})"), "holdfast", Screen::Both, true);
    text += &entry("Holdfast rescue, on the serial line only", "serial", Screen::Serial, true);
    text += &entry("Holdfast rescue, showing what the kernel says", "verbose", Screen::Both, false);
    text += &started("Holdfast rescue, saving by itself (key a)", "auto --hotkey=a", by_itself);
    text += TAIL;
    text
}

/// On UEFI the firmware's console takes care of a serial line by itself. On a BIOS GRUB's `serial` succeeds only where there
/// is a port (grub-core/term/ns8250.c tries its scratch register).
const HEAD: &str = "\
set timeout=3
set default=holdfast
if [ \"$grub_platform\" = pc ]; then
	if serial --unit=0 --speed=115200; then
		terminal_input console serial
		terminal_output console serial
	fi
fi
";

/// The installed system. On UEFI, the boot loader a distribution or Windows put on an ESP, then the one for removable
/// media on any other partition: `exit` alone would not do, since firmware built on EDK II then shows its own menu instead
/// of the next boot entry (UefiBootManagerLib, `EfiBootManagerBoot` that ends well). On a BIOS, the boot sector of the disk
/// that would be first without the stick, put first by `drivemap`: INT 18h would go on to the network, since all
/// disks are one entry of its boot order (BIOS Boot Specification 1.01, section 5).
const TAIL: &str = "\
menuentry \"Start the installed system (key i)\" --hotkey=i --id installed {
	if [ \"$grub_platform\" = efi ]; then
		for loader in /EFI/debian/shimx64.efi /EFI/ubuntu/shimx64.efi /EFI/fedora/shimx64.efi /EFI/redhat/shimx64.efi \\
			/EFI/rocky/shimx64.efi /EFI/almalinux/shimx64.efi /EFI/opensuse/shim.efi /EFI/debian/grubx64.efi \\
			/EFI/systemd/systemd-bootx64.efi /EFI/Microsoft/Boot/bootmgfw.efi /EFI/BOOT/BOOTX64.EFI; do
			for esp in (*); do
				if [ \"$esp\" != \"($root)\" -a -f \"$esp$loader\" ]; then
					echo \"Starting $esp$loader ...\"
					chainloader \"$esp$loader\"
					boot
				fi
			done
		done
		echo \"No boot loader of an installed system was found. The firmware's menu follows.\"
		sleep 5
		exit
	fi
	set disk=hd0
	if [ \"$root\" = hd0,gpt2 ]; then
		set disk=hd1
		drivemap -s hd0 hd1
	fi
	echo \"Starting the disk $disk ...\"
	set root=$disk
	chainloader +1
}
if [ \"$grub_platform\" = efi ]; then
	menuentry \"Firmware set-up\" --id firmware {
		fwsetup
	}
fi
menuentry \"Switch off\" --id off {
	halt
}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_screen_is_the_last_console_and_the_store_is_named() {
        let line = command_line(Some("g"), Screen::Both, true);
        assert_eq!(line, "holdfast.store=g quiet loglevel=3 console=ttyS0,115200 console=tty0");
        assert!(command_line(None, Screen::Serial, true).ends_with("console=ttyS0,115200"));
        assert!(!command_line(None, Screen::Both, false).contains("quiet"));
    }

    #[test]
    fn the_default_entry_is_there_once_and_braces_match() {
        let text = menu("guid", "6.12");
        assert_eq!(text.matches("--id holdfast ").count(), 1);
        assert_eq!(text.matches('{').count(), text.matches('}').count());
        assert!(text.contains("holdfast.store=guid"));
        assert_eq!(text.matches("holdfast.policy=auto").count(), 1, "nothing is done by itself unless it is chosen");
    }
}
