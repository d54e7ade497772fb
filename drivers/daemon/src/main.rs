//! The `rumormill` binary: a node, a cluster on one machine, client commands, and the simulator.
//!
#![doc = include_str!("../docs/operating.md")]
//!
#![doc = include_str!("../docs/stalls.md")]
//!
#![doc = include_str!("../docs/disk.md")]

mod backend;
mod cli;
mod cluster;
mod commands;
mod descriptors;
mod engine;
mod events;
mod failure;
mod formats;
mod keeper;
mod memory;
mod node;
mod output;
mod resp;
mod serve;
mod settings;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use cli::{Cli, Command, Members, ServerArgs, Tables};
use commands::{
    bench, cluster_settings, describe, evict, leave, rows, sim, tables, transfer, upkeep, watch,
};
use failure::Failure;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help for a closed pipe is no error either.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = failure.to_string();
            if !text.is_empty() {
                let _ = writeln!(io::stderr(), "rumormill: {text}");
            }
            ExitCode::from(failure.code())
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => serve::run(&args),
        Command::Cluster(args) => cluster::run(&args),
        Command::Get { table, key, server } => rows::get(&table, &key, &server),
        Command::Put {
            table,
            key,
            value,
            context,
            server,
        } => rows::put(&table, &key, &value, context.as_deref(), &server),
        Command::Del {
            table,
            key,
            context,
            server,
        } => rows::del(&table, &key, context.as_deref(), &server),
        Command::Scan {
            table,
            prefix,
            server,
        } => rows::scan(&table, &prefix, &server),
        Command::Watch {
            table,
            prefix,
            count,
            cursor,
            server,
        } => watch::watch(&table, &prefix, count, cursor.as_deref(), &server),
        Command::Import(args) => transfer::import(&args),
        Command::Export(args) => transfer::export(&args),
        Command::Members {
            action,
            live,
            server,
        } => members(action, live, &server),
        Command::Leave(server) => leave::leave(&server),
        Command::Tables { action, server } => tables(action, &server),
        Command::Status(server) => describe::status(&server),
        Command::Settings { what, server } => cluster_settings::run(what, &server),
        Command::Upkeep(command) => upkeep::run(command),
        Command::Bench(args) => bench::run(&args),
        Command::Sim(args) => sim::run(args),
        Command::Completions { shell } => completions(shell),
    }
}

fn members(action: Option<Members>, live: bool, server: &ServerArgs) -> Result<(), Failure> {
    match action {
        None => describe::members(server, live),
        Some(Members::Evict {
            member,
            force,
            server,
        }) => evict::evict(&member, force, &server),
        Some(Members::Lost { node, server }) => evict::lost(&node, &server),
        Some(Members::Resume(server)) => evict::resume(&server),
    }
}

fn tables(action: Option<Tables>, server: &ServerArgs) -> Result<(), Failure> {
    match action {
        None => describe::tables(server),
        Some(Tables::Create {
            name,
            durability,
            conflict,
            server,
        }) => tables::create(&name, durability, conflict, &server),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "rumormill", &mut script);
    let mut out = io::stdout().lock();
    out.write_all(&script)
        .and_then(|()| out.flush())
        .map_err(Failure::output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_setting_has_a_flag() {
        let command = Cli::command();
        let serve = command.find_subcommand("serve").expect("a command");
        for key in settings::KEYS {
            let flag = serve
                .get_arguments()
                .any(|arg| arg.get_long() == Some(&key.flag()));
            assert!(flag, "--{} is missing", key.flag());
        }
    }
}
