//! Completions for bash (bash 5.2, "Programmable Completion"): one function that fills `COMPREPLY`, for which nothing but bash is needed.

use crate::cli::verbs::{OptionOf, VERBS, Value, Words};

const ABOVE: &str = r#"# Completions of holdfast for bash: `holdfast completions bash` prints them.

_holdfast_files() {
    compopt -o filenames 2>/dev/null || :
    mapfile -t COMPREPLY < <(compgen "$1" -- "$2")
}

_holdfast_words() {
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2")
}

_holdfast() {
    local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" verb="" options="" words="" i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} != -* ]]; then
            verb="${COMP_WORDS[i]}"
            break
        fi
    done
"#;

const BELOW: &str = r#"    if [[ $word == -* ]]; then
        _holdfast_words "$options --help" "$word"
    elif [[ $words == snapshots && -n $word && latest:good == "$word"* ]]; then
        _holdfast_words "latest latest:good" "$word"
    elif [[ $words == disks || $words == snapshots ]]; then
        _holdfast_files -f "$word"
    elif ((i + 1 == COMP_CWORD)); then
        _holdfast_words "$words" "$word"
    elif [[ $verb == store ]]; then
        _holdfast_files -d "$word"
    fi
}

complete -F _holdfast holdfast
"#;

pub(super) fn script() -> String {
    let mut out = ABOVE.to_owned();
    let names: Vec<&str> = VERBS.iter().map(|v| v.name).collect();
    out.push_str(&format!(
        "    if [[ -z $verb ]]; then\n        _holdfast_words \"{} help --help --version\" \"$word\"\n        return\n    fi\n",
        names.join(" ")
    ));
    out.push_str("    case \"$before\" in\n");
    for o in all_options() {
        let answer = match o.value {
            Value::Nothing | Value::Perhaps => continue,
            Value::File => "_holdfast_files -f \"$word\"; return".to_owned(),
            Value::Directory => "_holdfast_files -d \"$word\"; return".to_owned(),
            Value::OneOf(all) => format!("_holdfast_words \"{}\" \"$word\"; return", all.join(" ")),
            Value::Other => "return".to_owned(),
        };
        let short = o.short.map(|c| format!("-{c} | ")).unwrap_or_default();
        out.push_str(&format!("        {short}--{}) {answer} ;;\n", o.name));
    }
    out.push_str("    esac\n    case \"$verb\" in\n");
    for verb in VERBS {
        let options: Vec<String> = verb.all_options().map(|o| format!("--{}", o.name)).collect();
        let words = match verb.words {
            Words::Nothing => String::new(),
            Words::Disks => "disks".to_owned(),
            Words::Snapshots | Words::SnapshotThenDisks => "snapshots".to_owned(),
            Words::OneOf(all) => all.join(" "),
        };
        out.push_str(&format!("        {}) options=\"{}\" words=\"{words}\" ;;\n", verb.name, options.join(" ")));
    }
    out.push_str(&format!("        help) words=\"{}\" ;;\n    esac\n", names.join(" ")));
    out.push_str(BELOW);
    out
}

/// Every option once: what stands behind it is the same for every verb.
fn all_options() -> Vec<&'static OptionOf> {
    let mut all: Vec<&'static OptionOf> = VERBS.iter().flat_map(|v| v.all_options()).collect();
    all.sort_by_key(|o| o.name);
    all.dedup_by_key(|o| o.name);
    all
}
