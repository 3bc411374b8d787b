//! The words of the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};

/// Exit codes; the text of `--help` repeats them.
pub mod exit {
    /// Everything due is delivered, or a stop was asked for and all is saved.
    pub const DONE: u8 = 0;
    /// With `--once`: at least one entry failed.
    pub const FAILED: u8 = 1;
    /// `verify` and `go --once --strict`: nothing is missing, but rejected records wait.
    pub const REJECTED: u8 = 3;
    /// Usage, settings or the state file.
    pub const UNUSABLE: u8 = 2;
    /// A bug.
    pub const BUG: u8 = 70;
    /// Another importer works on the state folder.
    pub const TAKEN: u8 = 75;
    /// API keys are missing or malformed.
    pub const NO_KEY: u8 = 77;
    /// Stopped at once by a second ctrl-c.
    pub const INTERRUPTED: u8 = 130;
}

const AFTER_HELP: &str = "\
Settings, by environment:
  MAILCHIMP_APIKEY       the key of the Mailchimp account; its suffix names the data center (…-us21)
  OMETRIA_APIKEY         the key of the Ometria account
  MAILCHIMP_URL          the whole base address [default: https://<data center>.api.mailchimp.com/3.0]
  OMETRIA_URL            the whole base address [default: https://api.ometria.com/v2]
  MAILCHIMP_CONNECTIONS  requests to Mailchimp at once, over all lists, at most 10 [default: 8]
  OMETRIA_RATE           requests to Ometria a second, 0 for no limit [default: 8]
  WHEN_I_WORK_KEY        the developer key of When I Work, with …
  WHEN_I_WORK_EMAIL      … the address and
  WHEN_I_WORK_PASSWORD   … the password of a person of the account
  WHEN_I_WORK_TOKEN      or a ready token instead of these three
  WHEN_I_WORK_URL        the whole base address [default: https://api.wheniwork.com/2]
  WHEN_I_WORK_LOGIN_URL  that of the login [default: https://api.login.wheniwork.com]
  RUST_LOG               error, warn, info or debug [default: info]

Exit codes:
  0    everything due is delivered, or a stop was asked for and all is saved
  1    with --once: at least one entry failed; verify: records are missing, or it can't tell;
       replay: records are still rejected; why: nothing is known; release: no hold; a service failed
  2    usage, settings, or the state file (go without --once waits for it to be mended)
  3    verify, go --once --strict: nothing is missing, but rejected records wait in dead letters
  70   a bug
  75   another importer works on the state folder
  77   an API key is missing or malformed
  130  stopped at once by a second ctrl-c

Stop it with ctrl-c, SIGTERM, SIGHUP, or a file named controller.quit in the state folder.";

/// Keeps people's lists in step between services, Mailchimp and Ometria above all, driven by one editable file.
#[derive(Debug, Parser)]
#[command(version, after_long_help = AFTER_HELP, after_help = "Settings and exit codes: importer --help")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Import every list of the state file when it is due
    Go(Go),
    /// Show a whole import without any account
    Demo(Demo),
    /// Read the state file and tell every problem
    Check(Check),
    /// Show records of a list, what is sent for them, and what is left out and why
    Preview(Preview),
    /// Send rejected records once more, as they are now
    Replay(Replay),
    /// Lift the hold of a list that the safety brake has stopped
    Release(Release),
    /// Count a list's members at the source and compare with what was delivered and rejected
    Verify(Verify),
    /// Say what is known of one record: when it was last seen and sent, and if not, why
    Why(Why),
    /// Print the JSON Schema of the state file, for editors
    Schema,
    /// Look at the last versions of the state file, or go back to one
    State(State),
    /// Serve emulators of Mailchimp, Ometria and When I Work on this machine
    Sandbox(Sandbox),
}

#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP, after_help = "Settings and exit codes: importer go --help")]
pub struct Go {
    /// The folder of state.json
    #[arg(long, value_name = "DIR", default_value = "state")]
    pub state: PathBuf,
    /// Look at every entry once, then exit
    #[arg(long)]
    pub once: bool,
    /// Start first loads at once, without waiting for Enter on a terminal
    #[arg(long)]
    pub yes: bool,
    /// With --once: exit with 3 if rejected records wait in dead letters
    #[arg(long, requires = "once")]
    pub strict: bool,
    /// Start interrupted runs from their beginning, not from where they were
    #[arg(long)]
    pub fresh: bool,
}

#[derive(Debug, Args)]
pub struct Demo {
    /// Which one
    #[arg(value_enum, default_value_t = Story::Members)]
    pub story: Story,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Story {
    /// The members of a Mailchimp list become contacts in Ometria
    Members,
    /// When I Work shifts become lines of a file, and unchanged ones are held back
    Shifts,
}

#[derive(Debug, Args)]
pub struct Why {
    /// The list of one or more entries
    #[arg(value_name = "LIST")]
    pub list_id: String,
    /// The record's key, as in a dead letter or a preview, or a member's address
    #[arg(value_name = "KEY|EMAIL")]
    pub record: String,
    /// The folder of state.json
    #[arg(long, value_name = "DIR", default_value = "state")]
    pub state: PathBuf,
}

#[derive(Debug, Args)]
pub struct Check {
    /// The folder of state.json
    #[arg(long, value_name = "DIR", default_value = "state")]
    pub state: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP, after_help = "Settings and exit codes: importer verify --help")]
pub struct Verify {
    /// The list of one or more entries
    #[arg(value_name = "LIST")]
    pub list_id: String,
    /// The folder of state.json
    #[arg(long, value_name = "DIR", default_value = "state")]
    pub state: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP, after_help = "Shows personal data. Settings and exit codes: importer preview --help")]
pub struct Preview {
    /// The list of one or more entries
    #[arg(value_name = "LIST")]
    pub list_id: String,
    /// The address of a member, or the key of a record, as in a dead letter; else those that changed last are shown, or the first of a
    /// source that is read from its beginning
    #[arg(long, value_name = "EMAIL", conflicts_with = "count")]
    pub member: Option<String>,
    /// How many records are shown, at most 1000
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u64).range(1..=1000))]
    pub count: u64,
    /// The folder of state.json
    #[arg(long, value_name = "DIR", default_value = "state")]
    pub state: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP, after_help = "Settings and exit codes: importer replay --help")]
pub struct Replay {
    /// The list of one or more entries; all lists if absent
    #[arg(value_name = "LIST")]
    pub list_id: Option<String>,
    /// Send nothing, and tell what would become of the members
    #[arg(long)]
    pub dry_run: bool,
    /// The folder of state.json
    #[arg(long, value_name = "DIR", default_value = "state")]
    pub state: PathBuf,
}

#[derive(Debug, Args)]
#[command(
    after_help = "First correct the mistake at the source. The command drops the hold and the interrupted run, and the next run\n\
    reads the list as it is then. If the change is intended, put \"allow_mass_change\": true into the entry instead."
)]
pub struct Release {
    /// The `list_id` of the list
    #[arg(value_name = "LIST")]
    pub list_id: String,
    /// The folder of state.json
    #[arg(long, value_name = "DIR", default_value = "state")]
    pub state: PathBuf,
}

#[derive(Debug, Args)]
pub struct State {
    #[command(subcommand)]
    pub command: StateCommand,
    /// The folder of state.json
    #[arg(long, value_name = "DIR", default_value = "state", global = true)]
    pub state: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum StateCommand {
    /// What changed in the state file, when, and by whom
    Log,
    /// Give the state file the text of an older version
    Revert {
        /// The number that the log shows
        number: u64,
    },
}

#[derive(Debug, Args)]
pub struct Sandbox {
    /// The port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 9001)]
    pub port: u16,
    /// The id of the list; several may be given
    #[arg(long, value_name = "ID", default_values_t = ["1a2d7ebf82".to_owned()])]
    pub list: Vec<String>,
    /// Members of each list
    #[arg(long, value_name = "N", default_value_t = 2500)]
    pub members: u64,
    /// Requests a second that the emulated Ometria takes, 0 for no limit
    #[arg(long, value_name = "N", default_value_t = 8.0)]
    pub ometria_rate: f64,
    /// The same seed invents the same members, and the same faults
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Misbehave by chance: failed requests, changes while they are read, late and stale answers
    #[arg(long)]
    pub faults: bool,
}
