//! GRUB's configuration, as far as it tells what is loaded from where: the lines that `grub-mkconfig` and `grub-install` write. It
//! is a language with variables and conditions; what is not one of these lines is passed over, and nothing is concluded from it.

use super::entry::{Entry, MOST_INITRDS};

/// Most lines that are read.
const MOST_LINES: usize = 50_000;
/// Most entries of a menu that are told.
const MOST_ENTRIES: usize = 64;

/// What a configuration says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Config {
    /// The entries that load a kernel, in order.
    pub entries: Vec<Entry>,
    /// It goes on to the loader entries of the Boot Loader Specification (`blscfg`).
    pub bls: bool,
    /// It loads another configuration: its path, behind a variable that names the volume.
    pub configfile: Option<String>,
    /// `prefix`, without the variable that names the volume.
    pub prefix: Option<String>,
    /// The volume that is searched for outside any entry.
    pub search: Option<String>,
    /// A part of it that `grub-mkconfig` began and did not end.
    pub unfinished: Option<String>,
}

/// Reads a configuration. Whatever the text is, something comes back: what is not understood is left out.
pub(super) fn parse(text: &str) -> Config {
    let mut reader = Reader::default();
    for line in text.lines().take(MOST_LINES) {
        reader.line(line.trim());
    }
    reader.end()
}

#[derive(Default)]
struct Reader {
    config: Config,
    /// The volume that was searched for last: outside entries, and in the entry that is open.
    outside: Option<String>,
    inside: Option<Option<String>>,
    entry: Option<Entry>,
    part: Option<String>,
}

impl Reader {
    fn line(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("### BEGIN ") {
            self.part = Some(rest.trim_end_matches('#').trim().to_owned());
            return;
        }
        if line.starts_with("### END ") {
            self.part = None;
            return;
        }
        let words = words(line);
        let Some(first) = words.first().map(String::as_str) else { return };
        match first {
            "menuentry" => {
                self.close();
                self.inside = Some(self.outside.clone());
            }
            "search" | "search.fs_uuid" => self.search(first, &words[1..]),
            "set" => self.set(words.get(1).map_or("", String::as_str)),
            "configfile" | "normal" if words.len() == 2 => {
                self.config.configfile = Some(behind_variable(&words[1]).to_owned());
            }
            "blscfg" => self.config.bls = true,
            "linux" | "linux16" | "linuxefi" if words.len() > 1 => self.kernel(&words),
            "initrd" | "initrd16" | "initrdefi" => {
                if let Some(entry) = &mut self.entry {
                    let room = MOST_INITRDS.saturating_sub(entry.initrds.len());
                    for path in words[1..].iter().take(room) {
                        entry.elsewhere |= is_elsewhere(path);
                        entry.initrds.push(path.clone());
                    }
                }
            }
            _ => {}
        }
        // Braces of `${name}` are within words.
        if words.iter().any(|word| word == "}") {
            self.close();
            self.inside = None;
        }
    }

    fn search(&mut self, command: &str, words: &[String]) {
        let by_uuid = command == "search.fs_uuid" || words.iter().any(|w| w == "--fs-uuid" || w == "-u");
        let plain = words.iter().find(|w| !w.starts_with('-') && is_uuid(w));
        if let (true, Some(uuid)) = (by_uuid, plain) {
            match &mut self.inside {
                Some(inside) => *inside = Some(uuid.clone()),
                None => {
                    self.outside = Some(uuid.clone());
                    self.config.search = Some(uuid.clone());
                }
            }
        }
    }

    fn set(&mut self, assignment: &str) {
        if let Some(("prefix", value)) = assignment.split_once('=') {
            self.config.prefix = Some(behind_variable(value).to_owned());
        }
    }

    fn kernel(&mut self, words: &[String]) {
        self.close();
        let search = self.inside.clone().unwrap_or_else(|| self.outside.clone());
        let kernel = words[1].clone();
        let elsewhere = is_elsewhere(&kernel);
        self.entry = Some(Entry { search, kernel, options: words[2..].to_vec(), initrds: Vec::new(), elsewhere });
    }

    fn close(&mut self) {
        if let Some(entry) = self.entry.take()
            && self.config.entries.len() < MOST_ENTRIES
        {
            self.config.entries.push(entry);
        }
    }

    fn end(mut self) -> Config {
        self.close();
        self.config.unfinished = self.part.take();
        self.config
    }
}

/// True for a path that names its volume itself, or that a variable is part of.
fn is_elsewhere(path: &str) -> bool {
    !path.starts_with('/') || path.contains('$')
}

/// What follows the variable or device that names a volume: `($root)/boot/grub`, `$prefix/grub.cfg`.
fn behind_variable(path: &str) -> &str {
    if let Some(rest) = path.strip_prefix('(') {
        return rest.split_once(')').map_or(path, |(_, rest)| rest);
    }
    if let Some(rest) = path.strip_prefix('$') {
        return rest.find('/').map_or("", |at| &rest[at..]);
    }
    path
}

/// The id of a file system: of ext and its like, or of FAT.
pub(super) fn is_uuid(word: &str) -> bool {
    let hex = |part: &str, len: usize| part.len() == len && part.bytes().all(|b| b.is_ascii_hexdigit());
    let parts: Vec<&str> = word.split('-').collect();
    match parts.as_slice() {
        [a, b] => hex(a, 4) && hex(b, 4),
        [a, b, c, d, e] => hex(a, 8) && hex(b, 4) && hex(c, 4) && hex(d, 4) && hex(e, 12),
        _ => false,
    }
}

/// The words of a line, as GRUB's shell takes them apart: quotes, backslashes, comments; variables stay as they are written.
fn words(line: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match (c, quote) {
            ('\'', None) | ('"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(q)) if c == q => quote = None,
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(characters.next()),
            ('#', None) if word.is_none() => break,
            (c, None) if c.is_whitespace() || c == ';' => out.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    out.extend(word);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "11111111-aaaa-4aaa-8aaa-000000000003";

    #[test]
    fn a_menu_as_grub_mkconfig_writes_it() {
        let text = format!(
            "### BEGIN /etc/grub.d/00_header ###\nset default=\"0\"\n  search --no-floppy --fs-uuid --set=root {UUID}\n\
             ### END /etc/grub.d/00_header ###\n### BEGIN /etc/grub.d/10_linux ###\n\
             menuentry 'Debian GNU/Linux' --class debian $menuentry_id_option 'gnulinux-simple-x' {{\n\tset root='hd0,gpt2'\n\
             \tif [ x$feature_platform_search_hint = xy ]; then\n\
             \t  search --no-floppy --fs-uuid --set=root --hint-bios=hd0,gpt2 2222-ABCD\n\telse\n\tfi\n\
             \tlinux\t/vmlinuz-6.1 root=UUID={UUID} ro quiet\n\tinitrd\t/initrd.img-6.1 /ucode.img\n}}\n\
             submenu 'Advanced' {{\n\tmenuentry 'x' {{\n\t\tlinux /vmlinuz-6.0 root=/dev/sda2\n\t}}\n}}\n"
        );
        let config = parse(&text);
        let [first, second] = config.entries.as_slice() else { panic!("{config:?}") };
        assert_eq!(first.search.as_deref(), Some("2222-ABCD"));
        assert_eq!((first.kernel.as_str(), first.initrds.len()), ("/vmlinuz-6.1", 2));
        assert_eq!(first.options[0], format!("root=UUID={UUID}"));
        assert_eq!(second.search.as_deref(), Some(UUID), "what was searched for outside");
        assert_eq!(config.unfinished.as_deref(), Some("/etc/grub.d/10_linux"));
        assert!(!first.elsewhere && !config.bls);
    }

    #[test]
    fn the_few_lines_on_an_esp() {
        let debian = format!(
            "search.fs_uuid {UUID} root hd0,gpt2 \nset prefix=($root)'/boot/grub'\nconfigfile $prefix/grub.cfg\n"
        );
        let fedora = format!(
            "search --no-floppy --root-dev-only --fs-uuid --set=dev {UUID}\nset prefix=($dev)/grub2\nexport $prefix\n\
             configfile $prefix/grub.cfg\n"
        );
        for (text, prefix) in [(debian, "/boot/grub"), (fedora, "/grub2")] {
            let config = parse(&text);
            assert_eq!(config.search.as_deref(), Some(UUID));
            assert_eq!((config.prefix.as_deref(), config.configfile.as_deref()), (Some(prefix), Some("/grub.cfg")));
            assert!(config.entries.is_empty());
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "(?s).{0,300}") {
            parse(&text);
        }
    }
}
