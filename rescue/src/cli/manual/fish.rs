//! Completions for fish (fish 3.6, `complete(1)`): a file `holdfast.fish`.

use crate::cli::verbs::{OptionOf, VERBS, Value, Words};

pub(super) fn script() -> String {
    let mut out = "# Completions of holdfast for fish: `holdfast completions fish` prints them.\n\n".to_owned();
    out.push_str("complete -c holdfast -f\n");
    out.push_str("complete -c holdfast -n __fish_use_subcommand -l version -d 'show the version'\n");
    out.push_str("complete -c holdfast -l help -d 'show help'\n");
    for verb in VERBS {
        let does = quoted(verb.does);
        out.push_str(&format!("complete -c holdfast -n __fish_use_subcommand -a {} -d {does}\n", verb.name));
    }
    let names: Vec<&str> = VERBS.iter().map(|v| v.name).collect();
    out.push_str("complete -c holdfast -n __fish_use_subcommand -a help -d 'show the help of a verb'\n");
    out.push_str(&format!(
        "complete -c holdfast -n '__fish_seen_subcommand_from help' -a {}\n",
        quoted(&names.join(" "))
    ));
    for verb in VERBS {
        let seen = format!("complete -c holdfast -n '__fish_seen_subcommand_from {}'", verb.name);
        let words = match verb.words {
            Words::Nothing => String::new(),
            Words::Disks => format!("{seen} -F\n"),
            Words::Snapshots => format!("{seen} -a 'latest latest:good'\n"),
            Words::SnapshotThenDisks => format!("{seen} -F -a 'latest latest:good'\n"),
            Words::OneOf(all) => format!("{seen} -a {}\n", quoted(&all.join(" "))),
        };
        out.push_str(&words);
        for o in verb.all_options() {
            out.push_str(&format!("{seen} {}\n", option(o)));
        }
    }
    out
}

fn option(o: &OptionOf) -> String {
    let short = o.short.map(|c| format!(" -s {c}")).unwrap_or_default();
    let value = match o.value {
        Value::Nothing | Value::Perhaps => String::new(),
        Value::File => " -r -F".to_owned(),
        Value::Directory => " -x -a '(__fish_complete_directories)'".to_owned(),
        Value::OneOf(all) => format!(" -x -a {}", quoted(&all.join(" "))),
        Value::Other => " -x".to_owned(),
    };
    format!("-l {}{short}{value} -d {}", o.name, quoted(o.does))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
