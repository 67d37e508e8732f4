//! The text form of LVM's metadata (LVM2 `libdm/libdm-config.c`): `name = value`, and sections `name { .. }`.

use std::collections::BTreeMap;

/// Most sections within each other: a segment of a volume of a group is the fourth.
const DEEPEST: usize = 8;
/// Most names and values in all.
const MOST: usize = 1 << 19;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Number(u64),
    Text(String),
    List(Vec<Value>),
    Section(Section),
}

/// Names and what they have.
pub(super) type Section = BTreeMap<String, Value>;

/// Reads a text; what it cannot be is said.
pub(super) fn parse(text: &[u8]) -> Result<Section, String> {
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    let text = std::str::from_utf8(text).map_err(|_| "its text is no UTF-8".to_owned())?;
    let mut reader = Reader { rest: text, left: MOST };
    let section = reader.section(0)?;
    reader.skip();
    if reader.rest.is_empty() { Ok(section) } else { Err(reader.at("something that belongs nowhere")) }
}

struct Reader<'a> {
    rest: &'a str,
    left: usize,
}

impl<'a> Reader<'a> {
    fn at(&self, what: &str) -> String {
        let near: String = self.rest.chars().take(20).collect();
        format!("{what} at {near:?}")
    }

    fn count(&mut self) -> Result<(), String> {
        self.left = self.left.checked_sub(1).ok_or("it has more names and values than any")?;
        Ok(())
    }

    /// Passes over white space and comments.
    fn skip(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            if !self.rest.starts_with('#') {
                return;
            }
            self.rest = self.rest.find('\n').map_or("", |end| &self.rest[end..]);
        }
    }

    fn eat(&mut self, mark: char) -> bool {
        self.skip();
        match self.rest.strip_prefix(mark) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> &'a str {
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+' | '/');
        let end = self.rest.find(|c| !known(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// Names and values up to the end of the section, or of the text.
    fn section(&mut self, depth: usize) -> Result<Section, String> {
        let mut out = Section::new();
        loop {
            self.skip();
            if self.rest.is_empty() || self.rest.starts_with('}') {
                return Ok(out);
            }
            self.count()?;
            let name = self.word();
            if name.is_empty() {
                return Err(self.at("no name"));
            }
            let value = if self.eat('{') {
                if depth >= DEEPEST {
                    return Err("its sections lie too deep in each other".to_owned());
                }
                let section = self.section(depth + 1)?;
                if !self.eat('}') {
                    return Err(format!("the section {name} does not end"));
                }
                Value::Section(section)
            } else if self.eat('=') {
                self.value()?
            } else {
                return Err(self.at("neither a value nor a section"));
            };
            if out.insert(name.to_owned(), value).is_some() {
                return Err(format!("{name} stands twice"));
            }
        }
    }

    fn value(&mut self) -> Result<Value, String> {
        if !self.eat('[') {
            return self.single();
        }
        let mut list = Vec::new();
        while !self.eat(']') {
            list.push(self.single()?);
            if !self.eat(',') && !self.rest.starts_with(']') {
                return Err(self.at("a list that does not go on"));
            }
        }
        Ok(Value::List(list))
    }

    fn single(&mut self) -> Result<Value, String> {
        self.count()?;
        self.skip();
        if let Some(rest) = self.rest.strip_prefix('"') {
            self.rest = rest;
            return self.quoted();
        }
        match self.word() {
            "" => Err(self.at("no value")),
            // Numbers below zero and broken ones stand in nothing that is asked for.
            word => Ok(word.parse().map_or_else(|_| Value::Text(word.to_owned()), Value::Number)),
        }
    }

    fn quoted(&mut self) -> Result<Value, String> {
        let mut out = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(Value::Text(out));
                }
                '\\' => out.extend(chars.next().map(|(_, c)| c)),
                c => out.push(c),
            }
        }
        Err("a text in it does not end".to_owned())
    }
}

/// What a name has, as what it should be.
pub(super) trait Ask {
    fn number(&self, name: &str) -> Option<u64>;
    fn text(&self, name: &str) -> Option<&str>;
    fn list(&self, name: &str) -> &[Value];
    fn inner(&self, name: &str) -> Option<&Section>;
    /// The texts in a list.
    fn words(&self, name: &str) -> Vec<&str>;
}

impl Ask for Section {
    fn number(&self, name: &str) -> Option<u64> {
        match self.get(name)? {
            Value::Number(n) => Some(*n),
            _ => None,
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Value::Text(t) => Some(t),
            _ => None,
        }
    }

    fn list(&self, name: &str) -> &[Value] {
        match self.get(name) {
            Some(Value::List(list)) => list,
            _ => &[],
        }
    }

    fn inner(&self, name: &str) -> Option<&Section> {
        match self.get(name)? {
            Value::Section(s) => Some(s),
            _ => None,
        }
    }

    fn words(&self, name: &str) -> Vec<&str> {
        let mut words = Vec::new();
        for value in self.list(name) {
            if let Value::Text(text) = value {
                words.push(text.as_str());
            }
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read() {
        let text = "# made by hand\nvg0 {\nid = \"a-\\\"b\\\\\"  # an id\nseqno = 5\nflags = []\nstripes = [\n\"pv0\", 4,\n\"pv1\", 0\n]\n}\nempty = \"\"\n\0";
        let read = parse(text.as_bytes()).unwrap();
        let vg = read.inner("vg0").unwrap();
        assert_eq!((vg.text("id"), vg.number("seqno"), vg.list("flags").len()), (Some("a-\"b\\"), Some(5), 0));
        let number = Value::Number;
        let name = |n: &str| Value::Text(n.to_owned());
        assert_eq!(vg.list("stripes"), [name("pv0"), number(4), name("pv1"), number(0)]);
        assert_eq!((vg.words("stripes"), read.text("empty")), (vec!["pv0", "pv1"], Some("")));
    }

    #[test]
    fn what_does_not_hold_together_is_an_error() {
        let deep = "a {".repeat(100_000);
        let many = "a = [1,".to_owned() + &"1,".repeat(MOST) + "1]";
        for bad in
            ["a", "a =", "a {", "a = \"x", "a = [1 2]", "a = [", "}", "a = 1 a = 2", "= 1", "\u{fffd}", &deep, &many]
        {
            assert!(parse(bad.as_bytes()).is_err(), "{}", &bad[..bad.len().min(40)]);
        }
        assert!(parse(b"\xff").is_err());
        assert_eq!(parse(b"").unwrap(), Section::new());
    }
}
