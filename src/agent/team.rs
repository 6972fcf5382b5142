//! Who of a team speaks next: a pure function of the team, the question and what was said since.
//!
//! Invariants: the plan is made again from the log after every step, and after a crash at any of them: what has been
//! answered is not asked again, and the same turns come to be whatever the crash has cut off. The last entry is the team's
//! own, its summary, and is made once. Nothing is summed up when nobody has answered.
//! Not here: the calls and their retries, the log (the shard); what the digest says (`digest`).

use super::router::{self, Candidate};
use crate::session::TeamMode;

/// A member that can be called: one that is registered and enabled.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Its id.
    pub id: &'a str,
    /// What it is for.
    pub about: &'a Candidate,
}

/// What has been said since the question. Answers and the summary stand in the log; that something has failed only this
/// life knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Said<'a> {
    /// A message of a member, of its turn in this round. There may be several of one turn.
    Answer {
        /// The member.
        member: &'a str,
        /// From 1.
        round: u32,
    },
    /// The call of a member has failed for good.
    Failed {
        /// The member.
        member: &'a str,
        /// From 1.
        round: u32,
    },
    /// The team's own message.
    Summary,
    /// The call of the summarizer has failed for good.
    NoSummary,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan<'a> {
    /// These calls, all at once; when all have ended the plan is made again.
    Invoke(Vec<Invocation<'a>>),
    /// The summary: by this agent, who sees everything, or a digest.
    Summarise(Option<&'a str>),
    /// Nothing: it is summed up, or everybody has failed.
    Done,
}

/// One turn of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invocation<'a> {
    /// The member.
    pub member: &'a str,
    /// What it is shown.
    pub sees: Sees,
    /// Its side in a debate.
    pub stance: Option<Stance>,
    /// From 1.
    pub round: u32,
}

/// What a member is shown of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sees {
    /// All up to the question.
    Question,
    /// What other members have said to it as well.
    Everything,
}

/// A side in a debate. A member keeps it through all rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// For it.
    Pro,
    /// Against it.
    Con,
}

impl Stance {
    /// As agents and clients read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pro => "pro",
            Self::Con => "con",
        }
    }
}

/// The mode that a question is answered in: `auto` becomes one of the others, which stay as they are. A lone member is the
/// expert; words of weighing make a debate, words of looking for ideas a brainstorm; who is clearly called for is the
/// expert; else all answer.
pub fn resolve(mode: TeamMode, question: &str, members: &[Member<'_>]) -> TeamMode {
    if mode != TeamMode::Auto {
        return mode;
    }
    let mut said = " ".to_owned();
    router::words(question).for_each(|word| said.extend([word.as_str(), " "]));
    let has = |phrases: &[&str]| phrases.iter().any(|phrase| said.contains(&format!(" {phrase} ")));
    match members {
        [_] => TeamMode::Expert,
        _ if has(&["vs", "versus", "pros and cons", "should we"]) => TeamMode::Debate,
        _ if has(&["idea", "ideas", "brainstorm", "suggest", "suggestions"]) => TeamMode::Brainstorm,
        _ if router::choose(question, members.iter().map(|member| member.about)).is_some() => TeamMode::Expert,
        _ => TeamMode::Parallel,
    }
}

/// What is to be done next for `question`, which `said` has followed, in any order. `rounds` are those of a debate, at
/// least 1; the other modes have one.
pub fn plan<'a>(
    mode: TeamMode,
    members: &[Member<'a>],
    question: &str,
    said: &[Said<'_>],
    rounds: u32,
    summarizer: Option<&'a str>,
) -> Plan<'a> {
    if said.contains(&Said::Summary) {
        return Plan::Done;
    }
    let due = turns(resolve(mode, question, members), members, question, said, rounds);
    if !due.is_empty() {
        return Plan::Invoke(due);
    }
    if !said.iter().any(|said| matches!(said, Said::Answer { .. })) {
        return Plan::Done;
    }
    Plan::Summarise(summarizer.filter(|_| !said.contains(&Said::NoSummary)))
}

/// The turns that are due now.
fn turns<'a>(
    mode: TeamMode,
    members: &[Member<'a>],
    question: &str,
    said: &[Said<'_>],
    rounds: u32,
) -> Vec<Invocation<'a>> {
    let turn = |member: &Member<'a>, sees| Invocation { member: member.id, sees, stance: None, round: 1 };
    let is_due = |turn: &Invocation<'_>| !said.iter().any(|said| turn.is_over_by(said));
    match mode {
        TeamMode::Parallel | TeamMode::Brainstorm => {
            members.iter().map(|member| turn(member, Sees::Question)).filter(is_due).collect()
        }
        TeamMode::RoundRobin => {
            members.iter().map(|member| turn(member, Sees::Everything)).find(is_due).into_iter().collect()
        }
        TeamMode::Debate => {
            let debaters = || members.iter().zip([Stance::Pro, Stance::Con].into_iter().cycle());
            let debate = (1..=rounds).flat_map(|round| {
                debaters().map(move |(member, side)| Invocation {
                    stance: Some(side),
                    round,
                    ..turn(member, Sees::Everything)
                })
            });
            debate.into_iter().find(is_due).into_iter().collect()
        }
        TeamMode::Expert | TeamMode::Auto => {
            let expert = router::best(question, members.iter().map(|member| member.about));
            // Whoever has answered was the expert then, though another may seem one now.
            expert.filter(|_| said.is_empty()).map(|place| turn(&members[place], Sees::Question)).into_iter().collect()
        }
    }
}

impl Invocation<'_> {
    fn is_over_by(&self, said: &Said<'_>) -> bool {
        match *said {
            Said::Answer { member, round } | Said::Failed { member, round } => {
                (member, round) == (self.member, self.round)
            }
            Said::Summary | Said::NoSummary => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::{Index, subsequence};
    use std::collections::BTreeSet;

    const IDS: [&str; 5] = ["a", "b", "c", "d", "e"];
    const MODES: [TeamMode; 6] = [
        TeamMode::Auto,
        TeamMode::RoundRobin,
        TeamMode::Parallel,
        TeamMode::Debate,
        TeamMode::Brainstorm,
        TeamMode::Expert,
    ];

    fn abouts() -> [Candidate; 5] {
        ["Ann", "Bob", "Cook", "Dan", "Eve"].map(|name| Candidate::new(name, "", &[]))
    }

    fn members(abouts: &[Candidate]) -> Vec<Member<'_>> {
        IDS.iter().zip(abouts).map(|(id, about)| Member { id, about }).collect()
    }

    fn answer(member: &str, round: u32) -> Said<'_> {
        Said::Answer { member, round }
    }

    /// Member, what it sees, its side and the round, of a plan that calls.
    fn called<'a>(plan: &Plan<'a>) -> Vec<(&'a str, Sees, Option<Stance>, u32)> {
        let Plan::Invoke(turns) = plan else { panic!("{plan:?}") };
        turns.iter().map(|turn| (turn.member, turn.sees, turn.stance, turn.round)).collect()
    }

    #[test]
    fn auto_becomes_what_the_question_calls_for() {
        let abouts = abouts();
        let all = members(&abouts);
        for (question, mode) in [
            ("Rust vs. Go?", TeamMode::Debate),
            ("The PROS and cons, please", TeamMode::Debate),
            ("Should we cook?", TeamMode::Debate),
            ("Any ideas?", TeamMode::Brainstorm),
            ("Suggest a name", TeamMode::Brainstorm),
            ("Is the cook here?", TeamMode::Expert),
            ("Is Ann a better cook than Bob?", TeamMode::Parallel),
            ("Hello", TeamMode::Parallel),
            ("canvas idealist shouldwe", TeamMode::Parallel),
        ] {
            assert_eq!(resolve(TeamMode::Auto, question, &all), mode, "{question}");
            assert_eq!(resolve(TeamMode::Auto, question, &all[..1]), TeamMode::Expert, "{question}");
            assert_eq!(resolve(TeamMode::RoundRobin, question, &all), TeamMode::RoundRobin, "{question}");
        }
    }

    #[test]
    fn parallel_members_are_called_at_once_and_see_the_question_only() {
        let abouts = abouts();
        let members = &members(&abouts)[..2];
        for mode in [TeamMode::Parallel, TeamMode::Brainstorm] {
            let both = called(&plan(mode, members, "?", &[], 3, None));
            assert_eq!(both, [("a", Sees::Question, None, 1), ("b", Sees::Question, None, 1)]);
            let rest = called(&plan(mode, members, "?", &[answer("b", 1)], 3, None));
            assert_eq!(rest, [("a", Sees::Question, None, 1)]);
        }
    }

    #[test]
    fn a_round_goes_in_the_order_of_members_and_past_those_who_fail() {
        let abouts = abouts();
        let members = &members(&abouts)[..3];
        let next = |said: &[Said<'static>]| plan(TeamMode::RoundRobin, members, "?", said, 1, Some("s"));
        assert_eq!(called(&next(&[])), [("a", Sees::Everything, None, 1)]);
        let failed = Said::Failed { member: "b", round: 1 };
        assert_eq!(called(&next(&[answer("a", 1), failed])), [("c", Sees::Everything, None, 1)]);
        let said = [answer("a", 1), failed, answer("c", 1), answer("c", 1)];
        assert_eq!(next(&said), Plan::Summarise(Some("s")));
        assert_eq!(next(&[said.as_slice(), &[Said::NoSummary]].concat()), Plan::Summarise(None));
        assert_eq!(next(&[said.as_slice(), &[Said::Summary]].concat()), Plan::Done);
    }

    #[test]
    fn debaters_alternate_and_keep_their_side_through_all_rounds() {
        let abouts = abouts();
        let members = &members(&abouts)[..3];
        let (mut said, mut sides) = (Vec::new(), String::new());
        while let Plan::Invoke(turns) = plan(TeamMode::Debate, members, "?", &said, 2, None) {
            let [turn] = turns[..] else { panic!("{turns:?}") };
            sides += &format!("{}{}{} ", turn.member, turn.round, turn.stance.expect("a side").as_str());
            said.push(answer(turn.member, turn.round));
        }
        assert_eq!(sides, "a1pro b1con c1pro a2pro b2con c2pro ");
    }

    #[test]
    fn the_expert_answers_alone_and_nobody_after_it() {
        let abouts = abouts();
        let members = members(&abouts);
        let next = |said: &[Said<'static>]| plan(TeamMode::Expert, &members, "What does the cook say?", said, 1, None);
        assert_eq!(called(&next(&[])), [("c", Sees::Question, None, 1)]);
        assert_eq!(next(&[answer("a", 1)]), Plan::Summarise(None), "who was the expert then");
        assert_eq!(next(&[Said::Failed { member: "c", round: 1 }]), Plan::Done);
    }

    #[test]
    fn a_team_of_which_everybody_fails_or_nobody_is_left_sums_nothing_up() {
        let abouts = abouts();
        let failed = IDS.map(|member| Said::Failed { member, round: 1 });
        for mode in MODES {
            assert_eq!(plan(mode, &members(&abouts), "?", &failed, 1, Some("s")), Plan::Done, "{mode:?}");
            assert_eq!(plan(mode, &[], "?", &[], 1, None), Plan::Done, "{mode:?}");
        }
    }

    /// A team in which calls fail always or never, so that a life after a crash meets the same.
    #[derive(Debug)]
    struct World {
        mode: TeamMode,
        size: usize,
        failing: Vec<&'static str>,
        wordy: Vec<&'static str>,
        rounds: u32,
        summarizer: Option<&'static str>,
        summary_fails: bool,
        question: &'static str,
        order: Vec<Index>,
    }

    impl World {
        /// Goes on from what was said to the end.
        fn live(&self, mut said: Vec<Said<'static>>) -> Vec<Said<'static>> {
            let abouts = abouts();
            let members: Vec<Member<'_>> =
                IDS.iter().zip(&abouts).take(self.size).map(|(id, about)| Member { id, about }).collect();
            for _ in 0..1_000 {
                match plan(self.mode, &members, self.question, &said, self.rounds, self.summarizer) {
                    Plan::Done => return said,
                    Plan::Summarise(Some(_)) if self.summary_fails => said.push(Said::NoSummary),
                    Plan::Summarise(_) => said.push(Said::Summary),
                    Plan::Invoke(turns) => self.answer(turns, &mut said),
                }
            }
            panic!("the plan has no end: {said:?}");
        }

        /// All calls of a step end, in some order.
        fn answer(&self, mut turns: Vec<Invocation<'_>>, said: &mut Vec<Said<'static>>) {
            assert!(!turns.is_empty());
            while !turns.is_empty() {
                let turn = turns.remove(self.order[said.len() % self.order.len()].index(turns.len()));
                let member = *IDS.iter().find(|id| **id == turn.member).expect("a member");
                let round = turn.round;
                if self.failing.contains(&member) {
                    said.push(Said::Failed { member, round });
                    continue;
                }
                let messages = if self.wordy.contains(&member) { 2 } else { 1 };
                said.extend((0..messages).map(|_| Said::Answer { member, round }));
            }
        }
    }

    /// What a crash leaves, as turns: messages, and not that something has failed.
    fn kept<'a>(said: &[Said<'a>]) -> Vec<Said<'a>> {
        said.iter().copied().filter(|said| matches!(said, Said::Answer { .. } | Said::Summary)).collect()
    }

    fn worlds() -> impl Strategy<Value = World> {
        let ids = || subsequence(IDS.to_vec(), 0..=IDS.len());
        let questions = prop::sample::select(vec!["Hello", "Tea vs coffee?", "Ideas?", "Where is the cook?"]);
        (
            prop::sample::select(MODES.to_vec()),
            1..=IDS.len(),
            (ids(), ids()),
            1..=4u32,
            prop::sample::select(vec![None, Some("s"), Some("a")]),
            (any::<bool>(), questions, prop::collection::vec(any::<Index>(), 1..8)),
        )
            .prop_map(
                |(mode, size, (failing, wordy), rounds, summarizer, (summary_fails, question, order))| World {
                    mode,
                    size,
                    failing,
                    wordy,
                    rounds,
                    summarizer,
                    summary_fails,
                    question,
                    order,
                },
            )
    }

    proptest! {
        #[test]
        fn a_plan_made_again_after_a_crash_at_every_step_comes_to_the_same_entries(world in worlds()) {
            let whole = world.live(Vec::new());
            let entries: BTreeSet<_> = kept(&whole).into_iter().collect();
            let has_answers = entries.iter().any(|said| matches!(said, Said::Answer { .. }));
            prop_assert_eq!(entries.contains(&Said::Summary), has_answers);
            for cut in 0..=whole.len() {
                let again = world.live(kept(&whole[..cut]));
                let made: BTreeSet<_> = kept(&again).into_iter().collect();
                prop_assert_eq!(&made, &entries, "cut at {} of {:?}", cut, whole);
                prop_assert!(again.iter().filter(|said| **said == Said::Summary).count() <= 1);
                let twice = |turn: &Said<'_>| again[cut.min(again.len())..].iter().filter(|said| *said == turn).count() > 2;
                prop_assert!(!made.iter().any(twice), "a turn is taken once: {:?}", again);
            }
        }
    }
}
