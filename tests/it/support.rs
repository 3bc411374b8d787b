//! A world: the real program and adapters, the emulated services, a state folder, and a clock that moves with
//! tokio's.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use importer::{
    app::wiring::{Adapters, Keys, VOCABULARY},
    base::{
        clock::Clock,
        events::{Events, Inbox},
        fault::Fault,
        time,
    },
    controller::{
        self, Mode, Open, OpenRequest, Tools, Verdict,
        handle::{self, Handle},
        watch::Watch,
    },
    engine::{
        confirm::Confirm,
        plan::Pipeline,
        replay::{self, Letters, Replayed},
    },
    net::{Environment, Transport},
    sandbox::{
        MAILCHIMP_KEY, OMETRIA_KEY, Sandbox, edits::Edit, people::Member, receiver, rest, when_i_work,
    },
    state::{
        Snapshot, StateFile,
        folders::Folders,
        home,
        layout::{DEAD_LETTER, NAME, OURS},
        schema,
    },
};
use serde_json::{Map, Value};
use tokio::{
    sync::mpsc::{Sender, channel},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    privacy,
    witness::{Runs, Witness},
};

/// Folder to which sinks write files.
pub const OUT: &str = "out";

/// A time later than every change of an invented member.
pub const NOON: &str = "2026-11-21T12:00:00";

/// A clock that shows a fixed start plus tokio's elapsed time.
pub struct TokioClock {
    start: Instant,
    noon: DateTime<Utc>,
}

impl TokioClock {
    pub fn at(text: &str) -> Self {
        TokioClock { start: Instant::now(), noon: time::parse(text).unwrap() }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> DateTime<Utc> {
        self.noon + TimeDelta::from_std(self.start.elapsed()).unwrap()
    }
}

/// Credentials that the sandbox accepts.
pub const KEYS: [(&str, &str); 11] = [
    ("MAILCHIMP_APIKEY", MAILCHIMP_KEY),
    ("OMETRIA_APIKEY", OMETRIA_KEY),
    ("WHEN_I_WORK_KEY", when_i_work::KEY),
    ("WHEN_I_WORK_EMAIL", when_i_work::EMAIL),
    ("WHEN_I_WORK_PASSWORD", when_i_work::PASSWORD),
    ("HTTP_SINK_HOSTS", "receiver.example.org"),
    ("HTTP_SINK_TOKEN", receiver::TOKEN),
    ("REST_HOSTS", "rest.example.org"),
    ("REST_TOKEN", rest::KEY),
    ("REST_USER", rest::USER),
    ("REST_PASSWORD", rest::PASSWORD),
];

/// Changes the pipelines that a world opens.
type Change = Arc<dyn Fn(Pipeline) -> Pipeline + Send + Sync>;

pub struct World {
    pub clock: Arc<dyn Clock>,
    pub sandbox: Arc<Sandbox>,
    pub folder: tempfile::TempDir,
    pub stop: Mutex<CancellationToken>,
    changes: Mutex<Option<Sender<()>>>,
    handle: Mutex<Option<Handle>>,
    /// Transport between the program and the sandbox.
    transport: Arc<dyn Transport>,
    fresh: bool,
    variables: Vec<(&'static str, &'static str)>,
    confirm: Option<Confirm>,
    change: Option<Change>,
    /// Sees every request of the program.
    witness: Arc<Witness>,
    runs: Runs,
    log: Log,
}

impl World {
    pub fn new() -> Self {
        Self::with_server_at(NOON)
    }

    /// Returns a world in which the services' clock shows `server` when importer's shows noon.
    pub fn with_server_at(server: &str) -> Self {
        let sandbox = Arc::new(Sandbox::new(Arc::new(TokioClock::at(server)), Duration::from_millis(200)));
        let clock = sandbox.our_clock(Arc::new(TokioClock::at(NOON)));
        let log = Log::start(Arc::clone(&clock));
        World {
            clock,
            witness: Arc::default(),
            runs: Runs::default(),
            transport: sandbox.clone(),
            sandbox,
            fresh: false,
            folder: tempfile::tempdir().unwrap(),
            stop: Mutex::default(),
            changes: Mutex::default(),
            handle: Mutex::default(),
            variables: vec![],
            confirm: None,
            change: None,
            log,
        }
    }

    pub fn set(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.push((name, value));
        self
    }

    /// Sets the confirmation of first loads.
    pub fn confirm(mut self, confirm: Confirm) -> Self {
        self.confirm = Some(confirm);
        self
    }

    /// Sets the transport between the program and the sandbox.
    pub fn through<T: Transport + 'static>(mut self, transport: impl FnOnce(Arc<Sandbox>) -> T) -> Self {
        self.transport = Arc::new(transport(self.sandbox.clone()));
        self
    }

    /// Sets a change of all pipelines that the program opens.
    pub fn opening(mut self, change: impl Fn(Pipeline) -> Pipeline + Send + Sync + 'static) -> Self {
        self.change = Some(Arc::new(change));
        self
    }

    /// Runs importer with `--fresh` from now on.
    pub fn fresh(&mut self) {
        self.fresh = true;
    }

    /// Adds a list of invented members to Mailchimp.
    pub fn list(self, list_id: &str, size: u64) -> Self {
        self.sandbox.mailchimp().add_list(list_id, size, 1, self.clock.now());
        self
    }

    /// Saves the state file as an editor would, and notifies the controller as the file system would.
    pub fn save(&self, text: &str) {
        fs::write(self.folder.path().join("state.json"), text).unwrap();
        if let Some(changes) = &*self.changes.lock().unwrap() {
            let _ = changes.try_send(());
        }
    }

    pub fn with_state(self, text: &str) -> Self {
        self.save(text);
        self
    }

    pub fn state(&self) -> String {
        fs::read_to_string(self.folder.path().join("state.json")).unwrap()
    }

    /// Returns the value of a field of the only entry.
    pub fn field(&self, name: &str) -> Value {
        let value: Value = serde_json::from_str(&self.state()).unwrap();
        value[0][name].clone()
    }

    fn tools(&self) -> Tools {
        let variables = self.variables.clone();
        let settings = move |name: &str| {
            let found = variables.iter().rev().chain(&KEYS).find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let transport = self.witness.before(self.transport.clone());
        let clock = self.clock.clone();
        let adapters = Adapters::new(
            &Environment::new(settings),
            Keys::Both,
            transport,
            clock,
            self.folder.path(),
            self.log.events(),
        );
        let (sender, changes) = channel(1);
        *self.changes.lock().unwrap() = Some(sender);
        let (handle, commands) = handle::channel();
        *self.handle.lock().unwrap() = Some(handle);
        let stop = CancellationToken::new();
        *self.stop.lock().unwrap() = stop.clone();
        Tools {
            events: self.log.events(),
            state: StateFile::open(self.folder.path(), self.clock.clone(), VOCABULARY, self.log.events())
                .unwrap(),
            clock: self.clock.clone(),
            open: self.opener(adapters),
            watch: Watch::manual(changes),
            commands,
            fresh: self.fresh,
            confirm: self.confirm.clone(),
            stop,
        }
    }

    fn opener(&self, adapters: Adapters) -> Open {
        let open = adapters.opener();
        match self.change.clone() {
            None => open,
            Some(change) => Box::new(move |request| open(request).map(&*change)),
        }
    }

    /// Runs `importer go --once`.
    pub async fn once(&self) -> Result<Verdict, Fault> {
        self.runs.noted("once", controller::run(self.tools(), Mode::Once)).await
    }

    /// Runs `importer go` until it is stopped.
    pub async fn go(&self) -> Result<Verdict, Fault> {
        self.runs.noted("loop", controller::run(self.tools(), Mode::Loop)).await
    }

    /// Replays the dead letters of an entry as `importer replay` does.
    pub async fn replay(&self, entry: usize) -> Result<Replayed, Fault> {
        let entries = entries(&self.state());
        let (entry, folders) = (&entries[entry], Folders::of(&home::of(self.folder.path()).unwrap()));
        let open = self.tools().open;
        let pipeline = open(OpenRequest { entry, urgent: true }).map_err(|unfit| Fault::list(unfit.text))?;
        let letters = Letters {
            events: self.log.events().of_run(controller::run_name(entry)),
            store: Arc::new(controller::run_store(entry, &pipeline, &folders, &self.log.events())),
            entry: entry.folder.clone(),
            entries: controller::siblings(entry, &pipeline.delivery, Some(&entries), &open).unwrap(),
            records: Arc::new(controller::records(entry, &pipeline, &folders, &Arc::default())),
            dry_run: false,
        };
        replay::run(&pipeline, &letters).await
    }

    /// Returns where the program reports.
    pub fn events(&self) -> Events {
        self.log.events()
    }

    /// Returns a handle of the program that runs now.
    pub fn handle(&self) -> Handle {
        self.handle.lock().unwrap().clone().expect("the program was started")
    }

    pub fn stop(&self) {
        self.stop.lock().unwrap().cancel();
    }

    /// Runs `importer go` and stops it after a while.
    pub async fn go_for(&self, time: Duration) -> Result<Verdict, Fault> {
        let stop = async {
            sleep(time).await;
            self.stop();
        };
        tokio::join!(self.go(), stop).0
    }

    /// Returns the contact of a member at Ometria.
    pub fn contact(&self, list_id: &str, member: &Member) -> Option<Map<String, Value>> {
        let key = (format!("mailchimp_{list_id}"), member.contact_id(list_id));
        self.sandbox.ometria().contacts().get(&key).cloned()
    }

    /// Returns the members that should be at Ometria.
    pub fn expected(&self, list_id: &str) -> Vec<Member> {
        let mailchimp = self.sandbox.mailchimp();
        let readable =
            |member: &Member| !member.email.is_empty() && !mailchimp.quirks().spoils(member.number);
        let sent = |member: &&Member| !["archived", "pending"].contains(&member.status) && readable(member);
        mailchimp.members(list_id).filter(sent).cloned().collect()
    }

    /// Checks that Ometria has exactly the contacts that it should have, all in their current version, and
    /// that members archived after a delivery are opted out.
    pub fn assert_delivered(&self, list_id: &str) {
        let expected = self.expected(list_id);
        let collection = format!("mailchimp_{list_id}");
        let members: Vec<Member> = self.sandbox.mailchimp().members(list_id).cloned().collect();
        let archived = members.iter().filter(|member| member.status == "archived");
        let archived: Vec<_> = archived.filter_map(|member| self.contact(list_id, member)).collect();
        for contact in &archived {
            assert_eq!(contact["marketing_optin"], "EXPLICITLY_OPTEDOUT", "archived");
        }
        let known: HashSet<String> = members.iter().map(|member| member.contact_id(list_id)).collect();
        let held = self
            .sandbox
            .ometria()
            .contacts()
            .keys()
            .filter(|key| key.0 == collection)
            .cloned()
            .collect::<Vec<_>>();
        // importer does not notice members that were deleted permanently.
        let deleted = held.iter().filter(|key| !known.contains(&key.1)).count();
        let edits = self.sandbox.mailchimp().edits().get(&Edit::Delete).copied().unwrap_or(0);
        assert!(deleted <= edits, "{deleted} strangers in {list_id}");
        let missing = expected.iter().filter(|member| self.contact(list_id, member).is_none());
        let missing: Vec<u64> = missing.map(|member| member.number).collect();
        let found = held.len() - deleted;
        assert_eq!(found, expected.len() + archived.len(), "contacts of {list_id}, missing: {missing:?}");
        for member in expected {
            let contact =
                self.contact(list_id, &member).unwrap_or_else(|| panic!("missing: {}", member.number));
            let optin = match member.status {
                "subscribed" => Some("EXPLICITLY_OPTEDIN"),
                "unsubscribed" | "cleaned" => Some("EXPLICITLY_OPTEDOUT"),
                _ => None,
            };
            assert_eq!(contact.get("marketing_optin").and_then(Value::as_str), optin);
            assert_eq!(contact["email"], member.email.as_str());
            // An empty name is not sent, so that the old one stays.
            let name = contact.get("firstname").and_then(Value::as_str);
            assert!(member.first.is_empty() || name == Some(&member.first), "{}: {name:?}", member.number);
        }
    }

    /// Returns the lines of a file that a sink has written, parsed as JSON.
    pub fn out(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join(OUT).join(name)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub fn contacts(&self) -> usize {
        self.sandbox.ometria().contacts().len()
    }

    /// Returns the requests for members so far, as path and query.
    pub fn reads(&self) -> Vec<String> {
        self.sandbox.seen().reads.into_iter().filter(|read| read.contains("/members")).collect()
    }

    pub fn pushes(&self) -> Vec<usize> {
        self.sandbox.seen().pushes.into()
    }

    /// The program's requests so far, each with its number.
    pub fn requests(&self) -> BTreeMap<String, u64> {
        self.witness.requests()
    }

    /// How each run of the program has ended so far.
    pub fn ended(&self) -> Vec<String> {
        self.runs.ended()
    }

    /// All lines logged so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Returns the lines logged so far that contain `text`.
    pub fn lines(&self, text: &str) -> Vec<String> {
        self.log.lines().into_iter().filter(|line| line.contains(text)).collect()
    }

    /// Returns the number of lines logged so far that contain `text`.
    pub fn logged(&self, text: &str) -> usize {
        self.log.lines().iter().filter(|line| line.contains(text)).count()
    }
}

/// Checks at the end of every test that nothing is left over: no strange file, no unexplained row, no
/// personal data.
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines = self.log.lines();
            println!("{}", lines[lines.len().saturating_sub(40)..].join("\n"));
            return;
        }
        let files = fs::read_dir(self.folder.path()).unwrap().map(|file| file.unwrap().file_name());
        let strange: Vec<_> =
            files.filter(|name| ![NAME, OURS, DEAD_LETTER, OUT].iter().any(|known| name == known)).collect();
        assert!(strange.is_empty(), "left in the state folder: {strange:?}");
        self.lines(" finished in ").iter().for_each(|line| assert_adds_up(line));
        let errors = self.sandbox.ometria().errors().clone();
        assert!(errors.is_empty(), "ometria found invalid records: {errors:?}");
        privacy::search(&self.log.lines().join("\n"), "the log");
        privacy::search_folder(self.folder.path());
    }
}

/// Checks that the numbers of a run's last line account for every record.
pub fn assert_adds_up(line: &str) {
    let number = |word: &str| -> u64 {
        let Some(end) = line.find(word) else { return 0 };
        let digits = line[..end].trim_end().rsplit(|c: char| !c.is_ascii_digit()).next().unwrap();
        digits.parse().unwrap_or_else(|_| panic!("no number before {word:?}: {line}"))
    };
    assert!(line.contains(" records in the window, ") && line.contains(" seen: "), "{line}");
    let window = number(" records in the window") + number(" came in late");
    let read = number(" seen: ") + number(" repeated") + number(" left the window") + number(" unexplained.");
    assert_eq!(window, read, "the rows do not add up: {line}");
    let versions = number(" seen: ") + number(" settled again");
    let fates = [" sent", " unchanged", " skipped", " rejected", " superseded"].map(number);
    assert_eq!(versions, fates.iter().sum::<u64>(), "the fates do not add up: {line}");
}

/// The log of a world: a listener of the program's events.
struct Log {
    events: Events,
    inbox: Mutex<Inbox>,
    lines: Mutex<Vec<String>>,
}

impl Log {
    fn start(clock: Arc<dyn Clock>) -> Self {
        let events = Events::new(clock);
        let inbox = events.subscribe(1 << 20, |_| true);
        Log { events, inbox: Mutex::new(inbox), lines: Mutex::default() }
    }

    fn events(&self) -> Events {
        self.events.clone()
    }

    /// Returns the lines so far, as `LEVEL text`.
    fn lines(&self) -> Vec<String> {
        let mut events = vec![];
        assert_eq!(self.inbox.lock().unwrap().take(&mut events), 0, "events were lost");
        let messages = events.iter().flat_map(|emitted| importer::listener::log::messages(&emitted.event));
        let mut lines = self.lines.lock().unwrap();
        lines.extend(
            messages.map(|importer::listener::log::Message { level, text }| format!("{level} {text}")),
        );
        lines.clone()
    }
}

/// Returns the entries in the text of a state file.
pub fn entries(text: &str) -> Vec<importer::state::Entry> {
    read(text).entries
}

/// Reads the text of a state file as the program does.
pub fn read(text: &str) -> Snapshot {
    schema::read(text, VOCABULARY).unwrap()
}

pub fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

pub fn hours(hours: u64) -> Duration {
    minutes(60 * hours)
}

pub fn at(text: &str) -> DateTime<Utc> {
    time::parse(text).unwrap()
}
