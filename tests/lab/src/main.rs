//! `lab`: a whole OVN node that stays up, for work by hand.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use lab::{Result, Standing};

/// A whole OVN node in network namespaces, for work by hand
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring the lab up in the background and say how to reach it
    Up,
    /// Remove the lab with all that is in it
    Down,
    /// Run a command in the lab: on the node, or in one of the Pods a, b, c, d, e
    Exec {
        /// `node`, or the name of a Pod
        place: String,
        /// The command and its arguments; a shell if there is none
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Show all of it on a node that comes and goes, in a minute; within the sandbox
    Demo,
    /// Measure how soon hooks are there and back, and what the agent costs; within the sandbox
    Bench {
        /// What the benchmark of planning printed, to go with the rest
        #[arg(long, value_name = "FILE")]
        plan_and_diff: Option<PathBuf>,
    },
    /// Measure what a packet costs, copied or not, in processor time; within the sandbox
    Cost(lab::CostOptions),
    /// Compare what faults cost Pods with an agent and without, and what becomes of the copies; within the sandbox
    Faults(lab::FaultOptions),
    /// Measure what one change costs among few ports and among many; within the sandbox
    Scale {
        /// How many ports
        #[arg(long, value_delimiter = ',', default_value = "10,100,500,2000,10000")]
        ports: Vec<u16>,
        /// How many flows of others
        #[arg(long, value_delimiter = ',', default_value = "0,100000,200000")]
        flows: Vec<u32>,
    },
    /// Measure what mirroring costs, and compare that with what the agent exports; within the sandbox
    Overhead,
    /// Write what the dashboard would show of some eventful minutes, for deploy/grafana/draw; within the sandbox
    Record {
        /// The file, JSON
        file: PathBuf,
        /// How many minutes
        #[arg(long, default_value_t = 10)]
        minutes: u64,
    },
    /// What runs inside of the sandbox
    #[command(hide = true)]
    Serve,
}

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Demo => return Ok(lab::demo()),
        Command::Bench { plan_and_diff } => lab::bench(plan_and_diff.as_deref())?,
        Command::Cost(options) => lab::cost(&options)?,
        Command::Faults(options) => {
            return Ok(ExitCode::from(u8::from(!lab::faults(&options)?)));
        }
        Command::Scale { ports, flows } => lab::scale(&ports, &flows)?,
        Command::Overhead => lab::overhead()?,
        Command::Record { file, minutes } => lab::record(&file, minutes)?,
        Command::Up => {
            Standing::up()?;
            let lab = std::env::current_exe()?;
            println!("{}", WELCOME.replace("LAB", &lab.display().to_string()));
        }
        Command::Down => match Standing::find()? {
            Some(lab) => lab.down()?,
            None => println!("no lab is up"),
        },
        Command::Exec { place, command } => {
            let Some(lab) = Standing::find()? else {
                anyhow::bail!("no lab is up; try `make lab`")
            };
            let shell = ["bash".to_owned()];
            lab.exec(&place, if command.is_empty() { &shell } else { &command })?;
        }
        Command::Serve => Standing::serve()?,
    }
    Ok(ExitCode::SUCCESS)
}

const WELCOME: &str = "\
The lab is up: a node with br-int under OVN; Pods a, b, e on sw1 (10.16.0.11, .12, .15) and c, d on sw2
(10.17.0.13, .14), IPv6 likewise (fd00:10:16::b ...); service 10.96.0.10 (tcp 80, udp 53) with backends b and c.

  LAB exec node                                 a shell on the node; OVS and OVN tools work in it
  LAB exec node ovn-nbctl show
  LAB exec node ovs-ofctl -O OpenFlow15 dump-flows br-int
  LAB exec node ofmirror agent --enable-mirror  the agent; Ctrl-C stops it
  LAB exec node ofmirror status --enable-mirror from another terminal, as the next ones
  LAB exec node tcpdump -ni mirror0
  LAB exec a ping 10.17.0.13                    from Pod a to Pod c

`make lab-down` removes it.";
