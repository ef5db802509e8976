//! What an import prints, and that it decides as the list did.

mod decided;
mod printed;

use clap::Parser as _;

use super::*;
use crate::cli::{Cli, Command};

/// Exit, standard output and standard error of `doorward import FORMAT FILE`, where the file is called `list`.
fn imported(format: &str, text: &str, options: &str) -> (Exit, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("list");
    std::fs::write(&file, text).unwrap();
    let given = format!("doorward import {format} {} {options}", file.display());
    let cli = Cli::try_parse_from(given.split_whitespace()).unwrap();
    let Command::Import(arguments) = &cli.command else {
        panic!("not import");
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut output = Output::new(&cli.global, &mut out, &mut err);
    let exit = run(arguments, &mut output);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (exit, text(out), text(err))
}
