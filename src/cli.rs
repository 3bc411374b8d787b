//! Defines the command line: commands, options, help and exit codes.

use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, value_parser};

/// Exit codes. The text of `--help` lists them too.
pub mod exit {
    /// Everything due is delivered, or importer was stopped and all results are saved.
    pub const DONE: u8 = 0;
    /// With `--once`: at least one entry failed. For other commands, see the help.
    pub const FAILED: u8 = 1;
    /// `verify` and `go --once --strict`: nothing is missing, but rejected records wait in dead letters.
    pub const REJECTED: u8 = 3;
    /// The command line, the settings or the state file are unusable.
    pub const UNUSABLE: u8 = 2;
    /// A bug.
    pub const BUG: u8 = 70;
    /// Another importer works on the state folder.
    pub const TAKEN: u8 = 75;
    /// API keys are missing or malformed.
    pub const NO_KEY: u8 = 77;
    /// Stopped at once by a second Ctrl-C.
    pub const INTERRUPTED: u8 = 130;
}

/// The part of the help about exit codes.
const EXIT_CODES: &str = "\
Exit codes:
  0    everything due is delivered, or importer was stopped and all results are saved
  1    go --once: at least one entry failed; verify: records are missing, or the check was not possible;
       replay: records are still rejected; why: the record is unknown; status: a list is
       stale; release: the list is not on hold;
       a service failed
  2    the command line, the settings or the state file are unusable (go without --once waits until the
       state file is corrected)
  3    verify, go --once --strict: nothing is missing, but rejected records wait in dead letters
  70   a bug
  75   another importer works on the state folder
  77   an API key is missing or malformed
  130  stopped at once by a second Ctrl-C

To stop importer, press Ctrl-C, send SIGTERM or SIGHUP, or create controller.quit in the state folder.";

/// Commands whose help describes the environment and the exit codes, as that of the program does.
const THOROUGH: [&str; 4] = ["go", "verify", "preview", "replay"];

/// Parses the command line. `variables` is the part of the help about the environment. Ends the process if the command
/// line is unusable or asks for help.
pub fn parse(variables: &str) -> Cli {
    let matches = command(variables).get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// Returns the command line with its help.
pub fn command(variables: &str) -> clap::Command {
    let help = format!("{variables}\n{EXIT_CODES}");
    let command = Cli::command().after_long_help(help.clone());
    THOROUGH.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, |command| command.after_long_help(help.clone()))
    })
}

/// Syncs lists between services, such as Mailchimp and Ometria, as one editable file describes.
#[derive(Debug, Parser)]
#[command(version, after_help = "Settings and exit codes: importer --help")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Import every list of the state file when it is due
    Go(Go),
    /// Show a whole import against emulated services; needs no account
    Demo(Demo),
    /// Report every problem of the state file
    Check(Check),
    /// Show records of a list, what would be sent for them, and what is left out and why
    Preview(Preview),
    /// Read rejected records from the source again and send them as they are now
    Replay(Replay),
    /// Lift the hold of a list that the safety brake stopped
    Release(Release),
    /// Compare the source's counts of a list with the records that were delivered and rejected
    Verify(Verify),
    /// Show when a record was last seen and sent, or why it was not
    Why(Why),
    /// Show what each list does now, its progress, and what waits for a person
    Status(Status),
    /// List the last runs: when, why, what they delivered, and how they ended
    History(History),
    /// Show the environment variables that are read, and where each value comes from; shows no credential
    Settings(Settings),
    /// Print the JSON Schema of the state file, for editors
    Schema,
    /// List the last versions of the state file, or go back to one
    State(State),
    /// Serve emulators of Mailchimp, Ometria, When I Work and an HTTP receiver on this machine
    Sandbox(Sandbox),
}

#[derive(Debug, Args)]
#[command(after_help = "Settings and exit codes: importer go --help")]
pub struct Go {
    /// The folder of state.json
    #[arg(long, value_name = "DIR", default_value = "state")]
    pub state: PathBuf,
    /// Run every due entry once, then exit
    #[arg(long)]
    pub once: bool,
    /// Start first loads at once, without waiting for Enter on a terminal
    #[arg(long)]
    pub yes: bool,
    /// With --once: exit with 3 if rejected records wait in dead letters
    #[arg(long, requires = "once")]
    pub strict: bool,
    /// Start interrupted runs from their beginning; lifts all holds
    #[arg(long)]
    pub fresh: bool,
    /// Serve the HTTP API on this address, such as 127.0.0.1:5000; port 0 selects a free one
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
}

#[derive(Debug, Args)]
pub struct Demo {
    /// The demo to show
    #[arg(value_enum, default_value_t = Story::Members)]
    pub story: Story,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Story {
    /// The members of a Mailchimp list become contacts in Ometria
    Members,
    /// Shifts from When I Work become lines of a file, without the unchanged ones
    Shifts,
    /// Warehouses of a REST API with a login become rows of an SQLite file; needs the feature `sql`
    Warehouses,
}

#[derive(Debug, Args)]
pub struct Why {
    /// The `list_id` of one or more entries
    #[arg(value_name = "LIST")]
    pub list_id: String,
    /// The record's key, as in a dead letter or a preview, or a member's email address
    #[arg(value_name = "KEY|EMAIL")]
    pub record: String,
    /// The folder of state.json
    #[arg(long, value_name = "DIR", default_value = "state")]
    pub state: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Health check of a container: importer status --fail-if-stale")]
pub struct Status {
    /// The `list_id` of one or more entries; all entries if absent
    #[arg(value_name = "LIST")]
    pub list_id: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Show the status until Ctrl-C: again every second on a terminal, otherwise whenever it changes
    #[arg(long, conflicts_with = "fail_if_stale")]
    pub watch: bool,
    /// Exit with 1 if an enabled list can't run, or was not brought up to date for AGE, such as 3h, and is not being
    /// loaded; also if a running importer has reported nothing for 3 minutes. Without AGE: one and a half times the
    /// list's `every`, at least 10 minutes
    #[arg(long, value_name = "AGE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub fail_if_stale: Option<String>,
    /// The folder of state.json
    #[arg(long, value_name = "DIR", default_value = "state")]
    pub state: PathBuf,
}

#[derive(Debug, Args)]
pub struct History {
    /// The `list_id` of one or more entries; all entries if absent
    #[arg(value_name = "LIST")]
    pub list_id: Option<String>,
    /// Print one JSON object per run
    #[arg(long)]
    pub json: bool,
    /// Number of runs to show, the latest ones
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub last: usize,
    /// Leave out runs that changed nothing
    #[arg(long)]
    pub changes: bool,
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
    /// Also check whether every source and sink can be reached and accepts the credentials; delivers nothing
    #[arg(long)]
    pub online: bool,
}

#[derive(Debug, Args)]
pub struct Settings {
    /// The folder of state.json
    #[arg(long, value_name = "DIR", default_value = "state")]
    pub state: PathBuf,
    /// Print only the names of the variables, as run.sh needs them, also if the state file can't be read
    #[arg(long, conflicts_with = "json")]
    pub names: bool,
    /// Print one JSON array
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Settings and exit codes: importer verify --help")]
pub struct Verify {
    /// The `list_id` of one or more entries
    #[arg(value_name = "LIST")]
    pub list_id: String,
    /// The folder of state.json
    #[arg(long, value_name = "DIR", default_value = "state")]
    pub state: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Shows personal data. Settings and exit codes: importer preview --help")]
pub struct Preview {
    /// The `list_id` of one or more entries
    #[arg(value_name = "LIST")]
    pub list_id: String,
    /// The record's key, as in a dead letter, or a member's email address; without it, the records that changed last are
    /// shown, or the first ones of a source that is read from its beginning
    #[arg(value_name = "KEY|EMAIL", conflicts_with = "count")]
    pub record: Option<String>,
    /// The same as KEY|EMAIL
    #[arg(long, value_name = "EMAIL", conflicts_with_all = ["count", "record"])]
    pub member: Option<String>,
    /// Number of records to show, at most 1000
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u64).range(1..=1000))]
    pub count: u64,
    /// The folder of state.json
    #[arg(long, value_name = "DIR", default_value = "state")]
    pub state: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Settings and exit codes: importer replay --help")]
pub struct Replay {
    /// The `list_id` of one or more entries; all lists if absent
    #[arg(value_name = "LIST")]
    pub list_id: Option<String>,
    /// Send nothing; report what would be sent, skipped and rejected
    #[arg(long)]
    pub dry_run: bool,
    /// The folder of state.json
    #[arg(long, value_name = "DIR", default_value = "state")]
    pub state: PathBuf,
}

#[derive(Debug, Args)]
#[command(
    after_help = "First correct the mistake at the source. The command removes the hold and the interrupted run, and the next\n\
    run reads the list as it is then. If the change is intended, set \"allow_mass_change\": true in the entry instead."
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
    /// Show what changed in the state file, when, and by whom
    Log,
    /// Restore an older version of the state file
    Revert {
        /// The number of the version in the log
        number: u64,
    },
}

#[derive(Debug, Args)]
pub struct Sandbox {
    /// The port on 127.0.0.1; 0 selects a free one
    #[arg(long, default_value_t = 9001)]
    pub port: u16,
    /// The id of a list; repeat the option for several lists
    #[arg(long, value_name = "ID", default_values_t = ["1a2d7ebf82".to_owned()])]
    pub list: Vec<String>,
    /// Members of each list
    #[arg(long, value_name = "N", default_value_t = 2500)]
    pub members: u64,
    /// Requests per second that the emulated Ometria accepts, 0 for no limit
    #[arg(long, value_name = "N", default_value_t = 8.0)]
    pub ometria_rate: f64,
    /// Seed of the invented members and faults; the same seed gives the same ones
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Inject faults at random: failed requests, edits of lists and warehouses while they are read, late and stale
    /// responses
    #[arg(long)]
    pub faults: bool,
}
