//! The loop around the [`Machine`]: waits for what happens, passes it to the machine as an input, and does the actions
//! that the machine returns. One task owns all of it, so it needs no locks. It waits neither for a run, nor for a write
//! of the state file, nor for a caller.

use std::{
    collections::{HashMap, VecDeque},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::{
    join,
    task::{self, AbortHandle, JoinError, JoinSet},
    time::{Instant, Interval, MissedTickBehavior, interval, interval_at, sleep, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    Mode, Open, POLL, TICK, Tools, Verdict,
    deferred::DeferredErrors,
    file::File,
    handle::Commands,
    history::History,
    input::{Action, FileRead, Input, Now, Ran, Reading, RunEnd, Written},
    machine::{Machine, Phase},
    notices::Notices,
    progress::Progress,
    publish::Publisher,
    quit::QuitFile,
    schedule::RunId,
    siblings::Destination,
    watch::Watch,
    writer::{Done, Writer},
};
use crate::{
    base::{clock::Clock, events::Events, fault::Fault, identity::DeliveryId},
    engine::confirm::Confirm,
    store::{Leases, hold, records::Databases},
};

/// Delay between a file event and the read that follows, since an editor causes several events with one save.
const SETTLE: Duration = Duration::from_millis(200);

/// Maximum time, after the grace, that aborted runs may take to end.
const LAST: Duration = Duration::from_secs(1);

/// The means to end an active run.
pub struct Running {
    /// Cancels only this run.
    pub stop: CancellationToken,
    pub task: AbortHandle,
    pub destination: Destination,
}

/// The machine, and everything with which it acts.
pub struct Driver {
    pub(super) machine: Machine,
    pub(super) file: File,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) open: Arc<Open>,
    watch: Watch,
    /// Time of the last look at the state file after an event.
    looked: Option<Instant>,
    pub(super) events: Events,
    commands: Commands,
    pub(super) confirm: Option<Confirm>,
    pub(super) stop: CancellationToken,
    pub(super) mode: Mode,
    pub(super) jobs: JoinSet<Ran>,
    /// The active runs.
    pub(super) running: HashMap<RunId, Running>,
    /// The run of each task.
    pub(super) tasks: HashMap<task::Id, RunId>,
    /// The records of the deliveries.
    pub(super) databases: Arc<Databases>,
    pub(super) notices: Notices,
    writer: Writer,
    history: History,
    pub(super) progress: Progress,
    pub(super) publisher: Publisher,
    /// Whether something has happened since the status was published.
    pub(super) is_changed: bool,
    pub(super) late: DeferredErrors,
    pub(super) quit: QuitFile,
    /// Whether deliveries still have to take over files of version 0.1.
    pub(super) is_migrating: bool,
    poll: Interval,
    tick: Interval,
}

impl Driver {
    /// Makes a driver whose lists run by these leases.
    pub fn new(tools: Tools, mode: Mode, leases: Arc<dyn Leases>) -> Self {
        let Tools { state, clock, open, watch, events, commands, stop, confirm, fresh: _ } = tools;
        let (open, state) = (Arc::new(open), Arc::new(state));
        let databases = Arc::new(Databases::new(events.clone()));
        let notices =
            Notices::new(Arc::clone(&open), Arc::clone(&databases), Arc::clone(&clock), events.clone());
        let now = Now { instant: Instant::now(), utc: clock.now(), is_stopping: false };
        let quit = {
            let folders = [state.path().parent().unwrap_or(Path::new(".")), state.home()];
            QuitFile::in_folders(folders, events.clone())
        };
        let mut poll = interval_at(Instant::now() + POLL, POLL);
        let mut tick = interval(TICK);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Driver {
            machine: Machine::new(mode, state.path().to_owned(), leases, events.clone(), now),
            late: DeferredErrors::new(state.folders().late(), Arc::clone(&clock), events.clone()),
            history: History::new(events.clone()),
            progress: Progress::new(&events),
            publisher: Publisher::new(state.folders().status(), events.clone()),
            is_changed: true,
            writer: Writer::new(Arc::clone(&state), events.clone()),
            file: File::new(state, Arc::clone(&open), events.clone()),
            clock,
            open,
            watch,
            looked: None,
            commands,
            confirm,
            stop,
            mode,
            jobs: JoinSet::new(),
            running: HashMap::new(),
            tasks: HashMap::new(),
            notices,
            databases,
            events,
            quit,
            is_migrating: false,
            poll,
            tick,
        }
    }

    /// Runs the machine until it is over: with [`Mode::Once`], when all runs have ended.
    ///
    /// # Errors
    ///
    /// The fault that ended the machine.
    pub async fn run(mut self) -> Result<Verdict, Fault> {
        self.machine.is_migrating = self.is_migrating;
        self.feed(Input::Begin).await;
        loop {
            let input = match self.machine.phase() {
                Phase::Running => self.next().await,
                Phase::Ending(deadline) => self.next_at_end(deadline).await,
                Phase::Saving => self.next_save().await,
                Phase::Over => break,
            };
            self.feed(input).await;
        }
        if self.mode == Mode::Once && !self.stop.is_cancelled() && !self.is_migrating {
            let (snapshot, folders) = (self.file.lists().snapshot, self.file.folders());
            self.notices.last(&snapshot, &folders, &self.stop, &self.quit).await;
        }
        self.finish().await;
        self.machine.verdict()
    }

    /// Waits for the next input while everything goes on.
    async fn next(&mut self) -> Input {
        let may_read = self.machine.may_read();
        // It may have passed already, while another branch was busy.
        let wake = self.machine.next_wake(self.now());
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Input::Stop,
            Some(ran) = self.jobs.join_next_with_id() => self.ended(ran),
            Some(done) = self.writer.next() => self.written(done),
            _ = self.tick.tick() => Input::Tick { quit: self.quit.found().await },
            _ = self.poll.tick(), if may_read => Input::Poll,
            Some(()) = reached(wake) => Input::WakeUp,
            () = self.watch.changed(), if may_read => Input::FileChanged(self.is_edited().await),
            Some(command) = self.commands.recv() => Input::Command(command),
        }
    }

    /// Returns whether a person has edited the state file, after an event in its folder. importer's own writes and
    /// other files cause events too: without another text there is no save that could be unfinished, and a later one
    /// causes another event.
    async fn is_edited(&mut self) -> bool {
        // A log in the folder may cause an event for each of its lines.
        reached(self.looked.map(|looked| looked + SETTLE)).await;
        self.looked = Some(Instant::now());
        if !self.file.differs().await {
            return false;
        }
        // What happens meanwhile is handled by the edited file.
        sleep(SETTLE).await;
        self.file.changed().await
    }

    /// Waits for the next input after a stop: no later than `deadline`.
    async fn next_at_end(&mut self, deadline: Instant) -> Input {
        tokio::select! {
            biased;
            Some(ran) = self.jobs.join_next_with_id() => Input::Ended(self.end_of(ran).into_iter().collect()),
            Some(done) = self.writer.next() => self.written(done),
            () = sleep_until(deadline) => Input::GraceOver,
            Some(command) = self.commands.recv() => Input::Command(command),
        }
    }

    /// Waits for the next input when only results are left to be written.
    async fn next_save(&mut self) -> Input {
        tokio::select! {
            biased;
            done = self.writer.next() => done.map_or(Input::LookedBack, |done| self.written(done)),
            Some(command) = self.commands.recv() => Input::Command(command),
        }
    }

    /// Passes an input to the machine, and does what follows from it.
    async fn feed(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let is_informed = matches!(input, Input::Read(..) | Input::Command(_));
            let holds = is_informed.then(|| self.holds());
            self.is_changed |= !matches!(input, Input::Tick { .. });
            for input in holds.into_iter().chain([input]) {
                for action in self.machine.handle(self.now(), input) {
                    inputs.extend(self.perform(action).await);
                }
            }
        }
    }

    /// Looks for the holds of the deliveries whose entries were opened lately. A person may have lifted those that are
    /// known.
    fn holds(&mut self) -> Input {
        let (mut deliveries, folders) = (self.file.newly_opened(), self.file.folders());
        deliveries.extend(self.machine.holds.keys().cloned());
        let hold = |delivery: DeliveryId| {
            let hold = hold::peek(&folders.delivery(&delivery));
            (delivery, hold)
        };
        Input::Holds(deliveries.into_iter().map(hold).collect())
    }

    /// Does an action, or begins it. Returns the input that follows at once.
    async fn perform(&mut self, action: Action) -> Option<Input> {
        match action {
            Action::Read(reading) => return Some(Input::Read(reading, self.read(reading).await)),
            Action::ResetPoll => self.poll.reset(),
            Action::Start(start) => return Some(self.start(*start)),
            Action::Cancel(run) => self.running.get(&run).iter().for_each(|run| run.stop.cancel()),
            Action::Abort(run) => self.running.get(&run).iter().for_each(|run| run.task.abort()),
            Action::Save(save) => self.writer.write(save),
            Action::LookBack => self.writer.look_back(),
            Action::DeliverNotices => self.notices.tick(&self.file.lists().snapshot, &self.file.folders()),
            Action::CloseIdleDatabases => self.databases.close_idle(),
            Action::PollDeferredErrors => self.late.tick(),
            Action::Publish => self.publish(),
            Action::StopProgram => self.stop.cancel(),
            Action::Record(ended) => self.history.add(*ended),
            Action::Reply(reply) => self.reply(reply),
        }
        None
    }

    /// Reads the file. Late saves are recovered and the files of version 0.1 are taken over if everything is read.
    async fn read(&mut self, reading: Reading) -> Result<FileRead, Fault> {
        if reading == Reading::All {
            self.file.look_back().await;
            self.watch.follow(self.file.path());
        } else if !self.file.changed().await {
            return Ok(FileRead::Unchanged);
        }
        let problems = self.file.read().await?;
        let taken_over = if reading == Reading::All { self.take_over(problems).await } else { Ok(()) };
        let is_migrating = taken_over.map(|()| self.is_migrating);
        Ok(FileRead::Read { lists: self.file.lists(), problems, is_migrating })
    }

    /// Makes the input of everything that a step of the writer has led to.
    fn written(&mut self, done: Done) -> Input {
        match done {
            Done::LookedBack => Input::LookedBack,
            Done::Written(Err(fault)) => Input::Written(Err(fault)),
            Done::Written(Ok(mut applied)) => {
                let outcomes = std::mem::take(&mut applied.outcomes);
                self.file.written(*applied);
                Input::Written(Ok(Written { lists: self.file.lists(), outcomes }))
            }
        }
    }

    /// Makes the input of this run that has ended, and of all others that have.
    fn ended(&mut self, ran: Result<(task::Id, Ran), JoinError>) -> Input {
        let mut ended = vec![self.end_of(ran)];
        while let Some(ran) = self.jobs.try_join_next_with_id() {
            ended.push(self.end_of(ran));
        }
        Input::Ended(ended.into_iter().flatten().collect())
    }

    fn end_of(&mut self, ran: Result<(task::Id, Ran), JoinError>) -> Option<(RunId, RunEnd)> {
        let task = ran.as_ref().map_or_else(JoinError::id, |(task, _)| *task);
        let run = self.tasks.remove(&task)?;
        if let Some(Running { destination, .. }) = self.running.remove(&run) {
            self.notices.run_ended(&destination);
        }
        let end = match ran {
            Ok((_, ran)) => RunEnd::Ran(Box::new(ran)),
            Err(error) if error.is_panic() => RunEnd::Panicked,
            Err(_) => RunEnd::Aborted,
        };
        Some((run, end))
    }

    /// Ends what is left, at most [`LAST`] after the time in which runs had to end.
    async fn finish(&mut self) {
        let (replies, deadline) = self.machine.finish(self.now());
        for reply in replies {
            self.perform(reply).await;
        }
        // A run that never yields can't be aborted; the end of the process ends it.
        let _ = timeout_at(deadline + LAST, self.jobs.shutdown()).await;
        let has_last_poll = self.mode == Mode::Once && !self.stop.is_cancelled();
        let Driver { notices, databases, history, late, writer, .. } = self;
        // The look for a late save waits for an editor, and the last poll for a service: the disk works meanwhile.
        let stores = async {
            notices.stop().await;
            databases.close().await;
        };
        let last_poll = async {
            if has_last_poll {
                late.last_poll().await;
            }
        };
        join!(stores, history.close(), last_poll, writer.close());
        self.publisher.close().await;
        self.is_changed = true;
        self.publish();
        self.publisher.close().await;
        self.file.look_back().await;
    }

    fn now(&self) -> Now {
        Now { instant: Instant::now(), utc: self.clock.now(), is_stopping: self.stop.is_cancelled() }
    }
}

/// Waits until `time`. Returns `None` at once if there is no time to wait for.
async fn reached(time: Option<Instant>) -> Option<()> {
    sleep_until(time?).await;
    Some(())
}
