//! A whole import that needs no account: the real program against the emulators, on a state folder of its own.

use std::{
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::{open, settings::Settings};
use crate::{
    base::clock::{Clock, SystemClock},
    cli::exit,
    controller::{self, Mode, Tools, Verdict, watch::Watch},
    sandbox::{MAILCHIMP_KEY, OMETRIA_KEY, Sandbox},
    state::{StateFile, file},
};

const LIST_ID: &str = "1a2d7ebf82";
const MEMBERS: u64 = 2500;
const STATE: &str = r#"[
  // The newsletter of an invented shop.
  {"list_id": "1a2d7ebf82", "items_per_request": 500}
]
"#;

/// The machine's clock, which the story can turn forward.
struct StoryClock {
    ahead_seconds: AtomicI64,
}

impl Clock for StoryClock {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + TimeDelta::seconds(self.ahead_seconds.load(Ordering::Relaxed))
    }
}

struct Story {
    clock: Arc<StoryClock>,
    sandbox: Arc<Sandbox>,
    folder: tempfile::TempDir,
}

/// Tells the story; answers the exit code of the imports in it.
pub async fn run() -> anyhow::Result<u8> {
    let story = Story::new()?;
    say(&format!(
        "This is importer at work on an emulated Mailchimp list of {MEMBERS} members, some of them archived and so not \
         listed, and an emulated Ometria.\n\
         No account is needed, and nothing leaves this machine.\n\n\
         1. The state file names the list. It has no latest_timestamp, so a full load is due:\n"
    ));
    say(&indented(STATE));
    let loaded = story.import().await?;
    say(&story.contacts());
    let told = story.change();
    say(&format!(
        "\n2. Three hours later (the demo turns its clock forward). Meanwhile {told}\n   \
         The timestamp in the state file is older than 2 hours, so an incremental sync of the changes is due:\n"
    ));
    let synced = story.import().await?;
    say(&story.contacts());
    let state = tokio::fs::read_to_string(story.state_path()).await?;
    say(
        "\n3. The state file afterwards. The comment and the layout are as they were; importer has written three fields \
         of its own:\n",
    );
    say(&indented(&state));
    say(
        "Set latest_timestamp to null, and the next look loads the whole list again; any edit is seen while it runs.\n\
         To import a list of your own: two API keys and one line in state/state.json; README.md tells how.",
    );
    let done = loaded == Verdict::Done && synced == Verdict::Done;
    Ok(if done { exit::DONE } else { exit::FAILED })
}

impl Story {
    fn new() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("importer-demo-")
            .tempdir()
            .context("no temporary folder for the demo")?;
        #[expect(clippy::disallowed_methods, reason = "the folder is new, nobody reads it yet")]
        std::fs::write(folder.path().join(file::NAME), STATE).context("the demo's state file")?;
        let clock = Arc::new(StoryClock { ahead_seconds: AtomicI64::new(0) });
        let sandbox = Sandbox::new(clock.clone(), Duration::from_millis(100));
        sandbox.mailchimp().add_list(LIST_ID, MEMBERS, 1, clock.now());
        Ok(Story { clock, sandbox: Arc::new(sandbox), folder })
    }

    fn state_path(&self) -> impl AsRef<Path> + use<> {
        self.folder.path().join(file::NAME)
    }

    /// `importer go --once`.
    async fn import(&self) -> anyhow::Result<Verdict> {
        let settings = Settings::read(|name| match name {
            "MAILCHIMP_APIKEY" => Some(MAILCHIMP_KEY.into()),
            "OMETRIA_APIKEY" => Some(OMETRIA_KEY.into()),
            _ => None,
        })?;
        let tools = Tools {
            state: StateFile::open(self.folder.path(), self.clock.clone())?,
            clock: self.clock.clone(),
            open: open(settings, self.sandbox.clone(), self.clock.clone()),
            watch: Watch::file(self.state_path().as_ref()),
            fresh: false,
            stop: CancellationToken::new(),
        };
        Ok(controller::run(tools, Mode::Once).await?)
    }

    /// Lets three hours pass in which a few members change; tells what they did.
    fn change(&self) -> String {
        self.clock.ahead_seconds.fetch_add(3 * 3600, Ordering::Relaxed);
        let now = self.clock.now() - TimeDelta::minutes(30);
        let mut mailchimp = self.sandbox.mailchimp();
        let subscribed: Vec<u64> = mailchimp
            .members(LIST_ID)
            .filter(|member| member.status == "subscribed")
            .map(|member| member.number)
            .take(3)
            .collect();
        for (index, number) in subscribed.into_iter().enumerate() {
            mailchimp.edit(LIST_ID, number, now, |member| match index {
                0 => member.first = "Augusta".into(),
                1 => member.status = "unsubscribed",
                _ => member.status = "archived",
            });
        }
        "one subscriber has changed her name, one has unsubscribed, and one was archived.".into()
    }

    /// What Ometria holds, by whether it may be mailed.
    fn contacts(&self) -> String {
        let ometria = self.sandbox.ometria();
        let with = |optin: Option<&str>| {
            let said = ometria.contacts().values().map(|contact| contact.get("marketing_optin"));
            said.filter(|said| said.and_then(|said| said.as_str()) == optin).count()
        };
        format!(
            "\n   Ometria now holds {} contacts: {} opted in, {} opted out, {} never asked.",
            ometria.contacts().len(),
            with(Some("EXPLICITLY_OPTEDIN")),
            with(Some("EXPLICITLY_OPTEDOUT")),
            with(None)
        )
    }
}

/// A reader that has gone away is no reason to fail.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("       {line}\n")).collect()
}
