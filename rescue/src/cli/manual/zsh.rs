//! Completions for zsh (zsh 5.9, `zshcompsys(1)`): a file `_holdfast` for a directory of `fpath`.

use crate::cli::verbs::{OptionOf, VERBS, Value, Words};

const ABOVE: &str = r#"#compdef holdfast
# Completions of holdfast for zsh: `holdfast completions zsh` prints them.

_holdfast() {
    local -a verbs
    if (( CURRENT == 2 )); then
        verbs=(
"#;

const BELOW: &str = r#"    esac
}

_holdfast "$@"
"#;

pub(super) fn script() -> String {
    let mut out = ABOVE.to_owned();
    for verb in VERBS {
        out.push_str(&format!("            '{}:{}'\n", verb.name, quoted(verb.does)));
    }
    out.push_str(
        "            'help:the help of a verb'\n        )\n        _describe verb verbs\n        return\n    fi\n",
    );
    out.push_str("    local verb=$words[2]\n    shift words\n    (( CURRENT-- ))\n    case $verb in\n");
    for verb in VERBS {
        out.push_str(&format!(
            "        {})\n            _arguments \\\n                '--help[show its help]'",
            verb.name
        ));
        for o in verb.all_options() {
            out.push_str(&format!(" \\\n                {}", option(o)));
        }
        let words = match verb.words {
            Words::Nothing => String::new(),
            Words::Disks => " \\\n                '*:disk or image file:_files'".to_owned(),
            Words::Snapshots => " \\\n                '*:snapshot:(latest latest\\:good)'".to_owned(),
            Words::SnapshotThenDisks => {
                " \\\n                '1:snapshot:(latest latest\\:good)' '*:disk or image file:_files'".to_owned()
            }
            Words::OneOf(all) => format!(" \\\n                '1:what:({})' '*:place:_files -/'", all.join(" ")),
        };
        out.push_str(&format!("{words}\n            ;;\n"));
    }
    let names: Vec<&str> = VERBS.iter().map(|v| v.name).collect();
    out.push_str(&format!("        help)\n            _arguments '1:verb:({})'\n            ;;\n", names.join(" ")));
    out.push_str(BELOW);
    out
}

fn option(o: &OptionOf) -> String {
    let does = quoted(o.does);
    let value = match o.value {
        Value::Nothing | Value::Perhaps => String::new(),
        Value::File => ":file:_files".to_owned(),
        Value::Directory => ":directory:_files -/".to_owned(),
        Value::OneOf(all) => format!(":what:({})", all.join(" ")),
        Value::Other => ":value: ".to_owned(),
    };
    let long = format!("'--{}[{does}]{value}'", o.name);
    match o.short {
        Some(c) => format!("{long} '-{c}[{does}]{value}'"),
        None => long,
    }
}

/// For the inside of single quotes, in which `:`, `[` and `]` mean something to the completion system.
fn quoted(text: &str) -> String {
    text.replace('\'', "'\\''").replace(':', "\\:").replace('[', "\\[").replace(']', "\\]")
}
