//! The READMEs: what the programs take is in both of them.

use std::path::Path;
use std::process::Command;

const PROGRAMS: [&str; 2] = [env!("CARGO_BIN_EXE_otpchatd"), env!("CARGO_BIN_EXE_otpchat")];
const SUBCOMMANDS: [&[&str]; 17] = [
    &["user"],
    &["user", "list"],
    &["user", "show"],
    &["user", "add"],
    &["user", "lock"],
    &["user", "unlock"],
    &["user", "reset-otp"],
    &["user", "reset-password"],
    &["user", "sessions"],
    &["user", "delete"],
    &["invite"],
    &["invite", "new"],
    &["invite", "list"],
    &["invite", "revoke"],
    &["audit"],
    &["rekey"],
    &["rotate-token-key"],
];

fn help(program: &str, subcommand: &[&str]) -> String {
    let output = Command::new(program).args(subcommand).arg("--help").env_clear().output().expect("it runs");
    assert!(output.status.success(), "{program} {subcommand:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// The words of a text that begin with two hyphens.
fn flags(text: &str) -> Vec<String> {
    let mut flags: Vec<_> = text
        .split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '-')
        .filter(|word| word.len() > 2 && word.starts_with("--"))
        .map(str::to_owned)
        .collect();
    flags.sort();
    flags.dedup();
    flags
}

/// The names that a help lists under "Commands:".
fn commands(help: &str) -> Vec<&str> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect()
}

#[test]
fn every_flag_and_subcommand_of_the_programs_is_in_both_readmes() {
    let mut taken: Vec<String> = PROGRAMS.iter().flat_map(|program| flags(&help(program, &[]))).collect();
    for subcommand in SUBCOMMANDS {
        taken.extend(flags(&help(PROGRAMS[0], subcommand)));
    }
    taken.retain(|flag| flag != "--version");
    for name in ["README.md", "README.ru.md"] {
        let readme = std::fs::read_to_string(Path::new(".").join(name)).expect("a README");
        let told = flags(&readme);
        let untold: Vec<_> = taken.iter().filter(|flag| !told.contains(flag)).collect();
        assert!(untold.is_empty(), "{name} does not mention {untold:?}");
        for subcommand in SUBCOMMANDS.iter().filter(|subcommand| help(PROGRAMS[0], subcommand).contains("Options:")) {
            assert!(readme.contains(&subcommand.join(" ")), "{name} does not mention {subcommand:?}");
        }
    }
}

#[test]
fn the_list_of_subcommands_above_is_whole() {
    let top = help(PROGRAMS[0], &[]);
    let mut all = Vec::new();
    for name in commands(&top) {
        all.push(vec![name.to_owned()]);
        let below = help(PROGRAMS[0], &[name]);
        all.extend(commands(&below).iter().map(|inner| vec![name.to_owned(), (*inner).to_owned()]));
    }
    assert_eq!(all, SUBCOMMANDS);
}
