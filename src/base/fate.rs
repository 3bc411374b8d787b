//! The fate of a record: whether it is sent, and if not, why. Files and output contain a fate as text, such as
//! `skipped pending`; everything else compares and counts the type.

use std::{
    collections::HashMap,
    fmt,
    sync::{LazyLock, PoisonError, RwLock},
};

use super::record::Reason;

/// Fate of one version of a record.
///
/// Checkpoints and delivery caches contain the text that [`Display`](fmt::Display) writes and [`Fate::parse`]
/// reads. Files of earlier versions contain it too, so it must not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// The record's payloads are sent, with this effect. In a settled page, the sink has accepted them.
    Sent(Effect),
    /// The sink has accepted the same payloads before.
    Unchanged,
    /// A rule of the mapping leaves the record out.
    Skipped(ReasonId),
    /// The record could not be delivered.
    Rejected(ReasonId),
    /// Another listing has a newer version of the record.
    Outdated,
}

// A pass stores the fate of every record that it reads.
const _: () = assert!(size_of::<Fate>() == 4);

/// Effect of the payloads of a record that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// None of the other effects.
    None,
    /// Opts the record out.
    OptOut,
    /// Opts the record out, as the last accepted payloads did.
    OptOutAgain,
    /// Opts in a record that had another status, or was opted out, before the run.
    OptIn,
    /// Deletes the record.
    Deletion,
}

impl Effect {
    /// All effects that have a word in the text form.
    const NAMED: [(Effect, &str); 4] = [
        (Effect::OptOut, "opt_out"),
        (Effect::OptOutAgain, "opt_out_again"),
        (Effect::OptIn, "opt_in"),
        (Effect::Deletion, "deletion"),
    ];

    fn word(self) -> Option<&'static str> {
        Self::NAMED.iter().find(|(effect, _)| *effect == self).map(|(_, word)| *word)
    }

    /// Returns the effect of this name; [`Effect::None`] for an unknown one.
    fn parse(word: &str) -> Self {
        let named = Self::NAMED.iter().find(|(_, name)| *name == word);
        named.map_or(Effect::None, |(effect, _)| *effect)
    }
}

impl Fate {
    /// Returns the fate of a record that a rule of the mapping leaves out.
    pub fn skipped(reason: Reason) -> Self {
        Fate::Skipped(ReasonId::new(reason))
    }

    /// Returns the fate of a record that can't be delivered.
    pub fn rejected(reason: Reason) -> Self {
        Fate::Rejected(ReasonId::new(reason))
    }

    pub fn is_sent(self) -> bool {
        matches!(self, Fate::Sent(_))
    }

    pub fn is_rejected(self) -> bool {
        matches!(self, Fate::Rejected(_))
    }

    /// Returns the fate with its reason replaced by `other`, where there is no space for another reason.
    pub fn with_other_reason(self) -> Self {
        match self {
            Fate::Skipped(_) => Fate::Skipped(ReasonId::OTHER),
            Fate::Rejected(_) => Fate::Rejected(ReasonId::OTHER),
            Fate::Sent(_) | Fate::Unchanged | Fate::Outdated => self,
        }
    }

    /// Reads the text form. An unknown word counts as [`Fate::Outdated`], an unknown effect as
    /// [`Effect::None`]: a later version may have written them.
    pub fn parse(text: &str) -> Self {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "sent" => Fate::Sent(Effect::parse(rest)),
            "unchanged" => Fate::Unchanged,
            "skipped" => Fate::Skipped(ReasonId::read(rest)),
            "rejected" => Fate::Rejected(ReasonId::read(rest)),
            _ => Fate::Outdated,
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, rest) = match self {
            Fate::Sent(effect) => ("sent", effect.word().unwrap_or_default()),
            Fate::Unchanged => ("unchanged", ""),
            Fate::Skipped(reason) => ("skipped", reason.as_str()),
            Fate::Rejected(reason) => ("rejected", reason.as_str()),
            Fate::Outdated => ("outdated", ""),
        };
        if rest.is_empty() { f.write_str(word) } else { write!(f, "{word} {rest}") }
    }
}

/// A reason, as an index into the table of the process. Equal reasons have equal indices; another process may
/// number them differently, so files contain the reason's text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReasonId(u16);

impl ReasonId {
    /// The reason `other`, which stands for every reason for which the table has no space.
    pub const OTHER: ReasonId = ReasonId(0);

    /// Returns the index of a reason of the code; [`ReasonId::OTHER`] once the table is full.
    pub fn new(reason: Reason) -> Self {
        intern(reason, || reason)
    }

    /// Returns the index of a reason from a file. A new one is copied once and kept until the process ends.
    fn read(reason: &str) -> Self {
        intern(reason, || Box::leak(reason.into()))
    }

    pub fn as_str(self) -> Reason {
        REASONS.read().unwrap_or_else(PoisonError::into_inner).words[usize::from(self.0)]
    }
}

impl fmt::Debug for ReasonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Maximum number of different reasons in a process. Adapters have some dozens; the bound limits the memory
/// that damaged files can take.
const MOST_REASONS: usize = 4096;

/// The reasons of the process, shared by all runs: a fate can then be read and written anywhere.
static REASONS: LazyLock<RwLock<Reasons>> = LazyLock::new(|| RwLock::new(Reasons::new()));

/// Returns the index of a reason. `keep` returns the text of a new reason, which the table stores.
fn intern(reason: &str, keep: impl FnOnce() -> Reason) -> ReasonId {
    let known = REASONS.read().unwrap_or_else(PoisonError::into_inner).find(reason);
    known.unwrap_or_else(|| REASONS.write().unwrap_or_else(PoisonError::into_inner).add(reason, keep))
}

struct Reasons {
    words: Vec<Reason>,
    indices: HashMap<Reason, u16>,
}

impl Reasons {
    /// Creates a table that contains [`ReasonId::OTHER`].
    fn new() -> Self {
        Reasons { words: vec!["other"], indices: HashMap::from([("other", ReasonId::OTHER.0)]) }
    }

    fn find(&self, reason: &str) -> Option<ReasonId> {
        self.indices.get(reason).copied().map(ReasonId)
    }

    /// Returns the index of a reason; adds it unless the table is full.
    fn add(&mut self, reason: &str, keep: impl FnOnce() -> Reason) -> ReasonId {
        // Another thread may have added it since the caller looked for it.
        if let Some(known) = self.find(reason) {
            return known;
        }
        if self.words.len() >= MOST_REASONS {
            return ReasonId::OTHER;
        }
        let (kept, index) = (keep(), self.words.len() as u16);
        self.words.push(kept);
        self.indices.insert(kept, index);
        ReasonId(index)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// These texts are in files.
    #[test]
    fn every_fate_is_written_as_its_text_and_read_from_it() {
        for (fate, text) in [
            (Fate::Sent(Effect::None), "sent"),
            (Fate::Sent(Effect::OptOut), "sent opt_out"),
            (Fate::Sent(Effect::OptOutAgain), "sent opt_out_again"),
            (Fate::Sent(Effect::OptIn), "sent opt_in"),
            (Fate::Sent(Effect::Deletion), "sent deletion"),
            (Fate::Unchanged, "unchanged"),
            (Fate::skipped("pending"), "skipped pending"),
            (Fate::skipped("two words"), "skipped two words"),
            (Fate::skipped(""), "skipped"),
            (Fate::rejected("no_id"), "rejected no_id"),
            (Fate::rejected("other"), "rejected other"),
            (Fate::Outdated, "outdated"),
        ] {
            assert_eq!((fate.to_string().as_str(), Fate::parse(text)), (text, fate));
        }
    }

    #[test]
    fn an_unknown_text_counts_as_outdated_and_an_unknown_effect_as_none() {
        for text in ["", "other", "Sent", "sent_later", "rejectedly", " skipped pending", "gone for good"] {
            assert_eq!(Fate::parse(text), Fate::Outdated, "{text:?}");
        }
        assert_eq!(Fate::parse("sent by_pigeon"), Fate::Sent(Effect::None));
        assert_eq!(Fate::parse("unchanged twice"), Fate::Unchanged);
    }

    #[test]
    fn reasons_of_code_and_of_files_are_the_same_and_only_two_fates_have_one() {
        assert_eq!(Fate::parse("skipped pending"), Fate::skipped("pending"));
        assert_ne!(Fate::skipped("pending"), Fate::skipped("archived"));
        assert_ne!(Fate::skipped("pending"), Fate::rejected("pending"));
        assert_eq!(Fate::skipped("pending").with_other_reason().to_string(), "skipped other");
        assert_eq!(Fate::rejected("no_id").with_other_reason().to_string(), "rejected other");
        for fate in [Fate::Sent(Effect::OptIn), Fate::Unchanged, Fate::Outdated] {
            assert_eq!(fate.with_other_reason(), fate);
        }
    }

    /// The table of the test's own: a full one would change the reasons of other tests.
    #[test]
    fn the_table_has_4096_reasons_and_counts_further_ones_as_other() {
        let mut table = Reasons::new();
        for n in 1..MOST_REASONS {
            let reason = n.to_string();
            let added = table.add(&reason, || Box::leak(reason.as_str().into()));
            assert_eq!((added.0, table.words[n]), (n as u16, reason.as_str()));
        }
        assert_eq!(table.add("one more", || unreachable!("it is not kept")), ReasonId::OTHER);
        assert_eq!(table.add("7", || unreachable!("it is known")), ReasonId(7));
        assert_eq!((table.words.len(), table.find("one more")), (4096, None));
    }

    #[test]
    fn threads_that_add_the_same_reasons_get_the_same_indices() {
        let add = || ["shared_1", "shared_2", "shared_3"].map(ReasonId::new);
        let all: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(add)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(all.iter().all(|ids| *ids == add()));
        assert_eq!(add().map(ReasonId::as_str), ["shared_1", "shared_2", "shared_3"]);
    }

    fn fates() -> impl Strategy<Value = Fate> {
        let effect = prop_oneof![
            Just(Effect::None),
            Just(Effect::OptOut),
            Just(Effect::OptOutAgain),
            Just(Effect::OptIn),
            Just(Effect::Deletion),
        ];
        let reason = || "[a-z_ ]{0,6}".prop_map(|reason| ReasonId::read(&reason));
        prop_oneof![
            effect.prop_map(Fate::Sent),
            Just(Fate::Unchanged),
            reason().prop_map(Fate::Skipped),
            reason().prop_map(Fate::Rejected),
            Just(Fate::Outdated),
        ]
    }

    proptest! {
        #[test]
        fn a_fate_that_is_written_is_read_as_itself(fate in fates()) {
            prop_assert_eq!(Fate::parse(&fate.to_string()), fate);
        }

        /// Any text can be read, and what is written of it means the same.
        #[test]
        fn a_text_that_is_read_and_written_means_the_same(
            text in "(sent|unchanged|skipped|rejected|outdated|other)?( [a-z_ ]{0,6})?",
        ) {
            let fate = Fate::parse(&text);
            prop_assert_eq!(Fate::parse(&fate.to_string()), fate);
        }
    }
}
