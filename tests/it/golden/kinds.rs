//! The kinds of log lines, each known by a piece of its text: the only place that knows the words of the log.
//!
//! To reword a message, change its piece here; the records stay as they are. The first kind in the table whose piece is in the
//! line counts, so special pieces stand before general ones.

use super::line::Kind;

/// Makes a kind whose numbers count.
const fn kind(name: &'static str, piece: &'static str) -> Kind {
    Kind { name, piece, numbers: true, caused: false }
}

/// Makes a kind whose numbers do not count, since another wording or the chance of a wait may change them.
const fn vague(name: &'static str, piece: &'static str) -> Kind {
    Kind { name, piece, numbers: false, caused: false }
}

/// Makes a kind that passes on a problem, which is one of [`CAUSES`].
const fn caused(name: &'static str, piece: &'static str) -> Kind {
    Kind { name, piece, numbers: false, caused: true }
}

pub const KINDS: &[Kind] = &[
    // The program.
    kind("starting", "starting, state file "),
    kind("checking all lists", "checking all lists."),
    vague("sleeping", "sleeping for "),
    kind("state file changed", "the state file has changed."),
    kind("state file readable again", "the state file can be read again."),
    kind("last good file in force", "until then the lists as last read stay in force"),
    kind("file read again when saved", "the file is read again as soon as it is saved."),
    kind("checkpoints dropped", "checkpoints dropped: "),
    kind("stopping", "stopping: what was read is being delivered"),
    kind("result in journal", "the result of its run is in the journal"),
    kind("result kept", "the result of the run is kept and written as soon as the file can be"),
    kind("quit file found", "found \""),
    kind("old quit file removed", "removed an old \""),
    kind("quit file stays", "could not be removed: "),
    kind("edits seen once a minute", "edits of the state file are seen once a minute"),
    kind("link changed", "the file there is in force"),
    kind("edit taken over", "an edit that was saved while importer wrote the state file has been taken over"),
    kind("two saves crossed", "two saves of the state file crossed"),
    kind("earlier result written", "the run up to \""),
    kind("history not written", "the history of the state file could not be written"),
    kind("files can't be exchanged", "this file system can't exchange two files"),
    kind("entry does not run", "; this entry does not run."),
    kind("no entry", "the state file holds no entry"),
    // What is due.
    kind("full load due", "has no latest timestamp, firing full load."),
    vague("incremental sync due", " ago, firing incremental sync."),
    kind("up to date", " up to date, last updated on "),
    kind("timestamp in the future", "which is in the future; it does not run"),
    kind("entry not enabled", "is paused, its entry is not enabled"),
    kind("running", " is being imported."),
    kind("running with former settings", " is being imported as its entry was"),
    kind("waits for another entry", "waits for the run of the list's other entry"),
    vague("resting", "has failed and rests for "),
    kind("entry is new", "its entry is new and is not part of this pass"),
    kind("first load waits", "its first load waits, since its entry says "),
    kind("offset ignored by source", "this source is always read whole"),
    kind("offset ignored", "bounds full loads only"),
    // The end of a run.
    caused("failed", ". Its entry is left as it was; its next run goes on from what is delivered."),
    kind("finished", " finished in "),
    kind("stopped", ". Its entry is left as it was; its next run goes on from here."),
    kind("paused", " records were delivered, and the "),
    kind("pausing", "its run delivers what it has read and ends"),
    caused("failed at pause", "; the run failed while it was ending: "),
    kind("cut at pause", "; the run was cut short, and the next run sends the records again"),
    kind("cut at stop", " was cut short; what it had left is sent by its next run"),
    kind("written", " updated, latest timestamp "),
    kind("overruled by hand", "was changed by hand during the run and is kept as it is"),
    kind("entry gone", "its entry is no longer in the state file as it was"),
    kind("totals wrong", "the source's totals are wrong: it listed more records than it counts"),
    vague("clocks apart", "the clocks differ by more than "),
    kind("rows after the end", " changed after the end of the window ("),
    kind("unknown field of records", "is it spelled as at the source, capitals included?"),
    kind("fields left out", ": left out: "),
    kind("late errors", "the sink has found "),
    caused("late errors not read", "validation errors: "),
    kind("late errors not in time", "no late errors were told in time"),
    kind("rejected", "can't be sent as they are; "),
    kind("whole list left out", " leaves out the whole list; is that meant?"),
    kind("rejected records wait", " rejected records wait in "),
    // A run.
    kind("first load", " is loaded for the first time: "),
    kind(
        "mass change allowed",
        "`allow_mass_change` is true, so any number of opt-outs and opt-ins may pass",
    ),
    kind("mass opt-in not noticed", "so a mass opt-in would not be noticed"),
    kind("all archived passed on", "all archived records are read and passed on as archived"),
    kind("goes on", ": the interrupted run goes on, "),
    caused("window read again", ". The window is read again."),
    kind("rows repeat an id", " another row's id, and nothing distinguishes them"),
    vague("pages do not join", ": two neighboring pages share no record; "),
    kind("server's cap", " records in one answer; reading smaller pages"),
    caused("page halved", "; smaller pages are asked for."),
    caused("window cut in two", "; the window is cut in two by time."),
    kind("progress", " records read, "),
    kind("page read", " records from "),
    kind("rows compared", " of the last seconds: "),
    kind("slice maybe cut off", " shifts begin within a minute of "),
    // Files of the program.
    kind("ledger unreadable", "can't be read, as if it were not there"),
    kind("checkpoint of another state", " is dropped, and the list starts again: "),
    kind("checkpoint unreadable", " can't be read and is dropped: the list starts again"),
    kind("checkpoint damaged", " is damaged; what comes after line "),
    kind("memory unreadable", " can't be read and is dropped: all records count as changed once"),
    // The network.
    kind("no https", " is not https: "),
    caused("account rests", " meanwhile, trying again in "),
    caused("tried again", "; trying again in "),
    // General pieces.
    kind("linked page read", " records."),
    kind("remark on the state file", "state.json"),
];

/// Problems that a line passes on, as pairs of a name and a piece.
pub const CAUSES: &[(&str, &str)] = &[
    ("mass change", " would be opted "),
    ("mass opt-out on hold", "until a person lifts the hold"),
    ("page takes too long", "takes too long for a page"),
    ("small pages take too long", "even small pages take the source too long"),
    ("clocks more than a day apart", "the clocks are more than a day apart"),
    ("window would end before the last one", " would end at "),
    ("window ends later than now", "which is later than now"),
    ("row long after the end", "a record changed at "),
    ("no readable date", "answered without a readable `Date` header"),
    ("totals can't be right", "its totals can't be right"),
    ("listing shows fewer of a second", "the source listed only "),
    ("records without a time", "have no time of their last change"),
    ("records unexplained", " are unexplained"),
    ("most records rejected", "the mapping or the sink looks wrong"),
    ("slice is full", " shifts or more begin within a minute of "),
    ("one row in an answer", "gives one row in an answer"),
    ("chain leads back", "leads back to a page that was read already"),
    ("asked to be left alone", "the service has asked to be left alone"),
    ("token over", "is over or wrong; set a new one"),
    ("redirect", "redirects are not followed with a key"),
    ("key refused before", "is not tried again"),
    ("push not confirmed", "answer does not say that it took "),
    ("batch refused", "ometria rejected "),
    ("401", "401 unauthorized"),
    ("403", "403 forbidden"),
    ("404", "404 not found"),
    ("429", "429 too many requests"),
    ("500", "500 internal server error"),
    ("502", "502 bad gateway"),
    ("503", "503 service unavailable"),
    ("504", "504 gateway timeout"),
    ("connection broken", "connection reset by peer"),
    ("answer ended in the middle", "the answer ended in the middle"),
    ("timed out", "no answer"),
    ("unreadable answer", "can't be read"),
    ("error in a good answer", "reports an error"),
];
