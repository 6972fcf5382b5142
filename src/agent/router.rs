//! Who should answer a message that names no agent: the words of the message held against what agents say of themselves. No
//! model, no chance: the same message and the same agents give the same choice.
//!
//! Not here: what happens when nobody is chosen (the last agent of the user, the default), and who may be chosen at all.

use crate::limits::{ROUTED_SHARED_MAX, ROUTED_WORDS_MAX};
use crate::session::AgentConfig;
use std::collections::{BTreeMap, BTreeSet};

/// Shorter words say nothing of what a message is about.
const WORD_CHARS_MIN: usize = 3;
/// A word of the name or a keyword is worth this much, one of the description 1.
const NAMED_WORTH: u32 = 3;
/// What a choice needs: a word of the name or a keyword, or that many of the description.
const CHOSEN_MIN: u32 = 3;
/// The one who is chosen has at least this many times what the next one has.
const CLEAR_FACTOR: u32 = 2;

/// What an agent can be found by. Made once for an agent: it is the work of reading its whole profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    worth: BTreeMap<String, u32>,
}

impl Candidate {
    /// From an agent's name, description and keywords.
    pub fn new(name: &str, description: &str, keywords: &[String]) -> Self {
        let mut worth = BTreeMap::new();
        let mut add = |words: BTreeSet<String>, each: u32| {
            words.into_iter().for_each(|word| *worth.entry(word).or_default() += each);
        };
        add(telling_words(name).collect(), NAMED_WORTH);
        add(keywords.iter().flat_map(|keyword| telling_words(keyword)).collect(), NAMED_WORTH);
        add(telling_words(description).collect(), 1);
        Self { worth }
    }

    /// From a registration.
    pub fn of(agent: &AgentConfig) -> Self {
        let profile = &agent.profile;
        Self::new(agent.name(), profile.description.as_deref().unwrap_or_default(), &profile.keywords)
    }

    fn score(&self, words: &BTreeSet<String>) -> u32 {
        words.iter().filter_map(|word| self.worth.get(word)).sum()
    }
}

/// The place of the candidate whom the message clearly calls for. `None`: nobody, or not clearly.
pub fn choose<'a>(message: &str, candidates: impl IntoIterator<Item = &'a Candidate>) -> Option<usize> {
    let scores = scores(message, candidates);
    let best = first_best(&scores)?;
    let next = scores.iter().enumerate().filter(|(place, _)| *place != best).map(|(_, score)| *score).max();
    let is_clear = scores[best] >= CLEAR_FACTOR * next.unwrap_or(0);
    (scores[best] >= CHOSEN_MIN && is_clear).then_some(best)
}

/// Many candidates, by word: to choose among them is work for the words of the message, not for every candidate.
#[derive(Debug, Default)]
pub struct Index {
    /// Who knows a word, and its worth to each.
    known: BTreeMap<String, Vec<(usize, u32)>>,
}

impl Index {
    /// Of candidates, whose places are those in this order.
    pub fn of(candidates: impl IntoIterator<Item = Candidate>) -> Self {
        let mut known: BTreeMap<String, Vec<(usize, u32)>> = BTreeMap::new();
        for (place, candidate) in candidates.into_iter().enumerate() {
            for (word, worth) in candidate.worth {
                known.entry(word).or_default().push((place, worth));
            }
        }
        Self { known }
    }

    /// As `choose`, but for words that more than [`ROUTED_SHARED_MAX`] candidates know: they call for none of them.
    pub fn choose(&self, message: &str) -> Option<usize> {
        let mut scores: BTreeMap<usize, u32> = BTreeMap::new();
        for &(place, worth) in self.looks(message) {
            *scores.entry(place).or_default() += worth;
        }
        let (&best, &score) = scores.iter().max_by_key(|(place, score)| (**score, std::cmp::Reverse(**place)))?;
        let next = scores.iter().filter(|(place, _)| **place != best).map(|(_, score)| *score).max();
        (score >= CHOSEN_MIN && score >= CLEAR_FACTOR * next.unwrap_or(0)).then_some(best)
    }

    /// Everything that is looked at for a message.
    fn looks(&self, message: &str) -> impl Iterator<Item = &(usize, u32)> {
        let words: BTreeSet<String> = telling_words(message).collect();
        let known = words.into_iter().filter_map(|word| self.known.get(&word));
        known.filter(|known| known.len() <= ROUTED_SHARED_MAX).flatten()
    }
}

/// The place of the candidate who knows most of it, however little; of equals the first. `None`: there is nobody.
pub(super) fn best<'a>(message: &str, candidates: impl IntoIterator<Item = &'a Candidate>) -> Option<usize> {
    first_best(&scores(message, candidates))
}

fn scores<'a>(message: &str, candidates: impl IntoIterator<Item = &'a Candidate>) -> Vec<u32> {
    let words = telling_words(message).collect();
    candidates.into_iter().map(|candidate| candidate.score(&words)).collect()
}

fn first_best(scores: &[u32]) -> Option<usize> {
    let best = scores.iter().max()?;
    scores.iter().position(|score| score == best)
}

/// The words of a text in lower case, as far as texts are looked at.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.take(ROUTED_WORDS_MAX).map(str::to_lowercase)
}

fn telling_words(text: &str) -> impl Iterator<Item = String> {
    words(text).filter(|word| word.chars().count() >= WORD_CHARS_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Json;

    fn candidate(name: &str, description: &str, keywords: &[&str]) -> Candidate {
        let keywords: Vec<String> = keywords.iter().map(|word| (*word).to_owned()).collect();
        Candidate::new(name, description, &keywords)
    }

    fn office() -> Vec<Candidate> {
        vec![
            candidate("Tax adviser", "Answers questions about VAT and customs duty.", &["invoice", "return"]),
            candidate("Cook", "Knows recipes and answers questions about kitchens.", &["dinner"]),
            candidate("Clerk", "", &[]),
        ]
    }

    #[test]
    fn who_is_named_or_known_for_a_word_is_chosen_whatever_its_case() {
        for (message, chosen) in [
            ("What shall I cook for DINNER?", Some(1)),
            ("Is there a clerk?", Some(2)),
            ("my invoices", None),
            ("my INVOICE", Some(0)),
            ("My return is late", Some(0)),
            ("VAT", None),
            ("vat and customs duty", Some(0)),
            ("questions about answers", None),
            ("Tax on dinner?", None),
            ("Tax return for a dinner?", Some(0)),
            ("", None),
            ("¿?", None),
        ] {
            assert_eq!(choose(message, &office()), chosen, "{message}");
        }
    }

    #[test]
    fn an_index_chooses_as_a_look_at_everybody_does() {
        let index = Index::of(office());
        let words = ["cook", "dinner", "tax", "invoice", "vat", "duty", "answers", "questions", "clerk", "return", "x"];
        for first in words {
            for second in words {
                for third in words {
                    let message = format!("{first} {second} {third}");
                    assert_eq!(index.choose(&message), choose(&message, &office()), "{message}");
                }
            }
        }
        let twins = vec![candidate("Bot", "", &[]), candidate("Bot", "", &[])];
        assert_eq!((Index::of(twins).choose("bot"), Index::default().choose("bot")), (None, None));
    }

    #[test]
    fn the_work_for_a_message_does_not_grow_with_the_number_of_agents() {
        let office = |agents: usize| {
            Index::of(
                (0..agents).map(|n| candidate(&format!("Agent number{n}"), "knows everything about shared", &["any"])),
            )
        };
        let (few, many) = (office(ROUTED_SHARED_MAX), office(20 * ROUTED_SHARED_MAX));
        let message = "Agent number7 knows everything about shared any";
        assert_eq!(few.looks(message).count(), 6 * ROUTED_SHARED_MAX + 1);
        assert_eq!(many.looks(message).count(), 1, "what everybody knows calls for nobody");
        assert_eq!(many.choose(message), Some(7));
        let every = (0..3 * ROUTED_WORDS_MAX).map(|n| format!("number{n} ")).collect::<String>();
        assert!(many.looks(&every).count() <= ROUTED_WORDS_MAX * ROUTED_SHARED_MAX);
    }

    #[test]
    fn a_word_counts_once_however_often_it_is_said() {
        assert_eq!(choose("about about about about", [&candidate("X", "about about", &[])]), None);
        assert_eq!(choose("bot bot dinner", [&candidate("Bot", "", &[]), &office()[1]]), None);
    }

    #[test]
    fn nobody_is_chosen_of_nobody_and_equals_are_no_choice() {
        assert_eq!(choose("bot", []), None);
        let twins = [candidate("Bot", "", &[]), candidate("Bot", "", &[])];
        assert_eq!(choose("bot", &twins), None);
        assert_eq!((best("bot", &twins), best("nothing", &twins), best("bot", [])), (Some(0), Some(0), None));
    }

    #[test]
    fn words_of_every_script_are_found_and_long_messages_only_so_far() {
        let agent = [candidate("Köchin", "", &["суп", "スープの"])];
        assert_eq!(choose("Ist die KÖCHIN da?", &agent), Some(0));
        assert_eq!(choose("Какой СУП?", &agent), Some(0));
        assert_eq!(choose("スープの、", &agent), Some(0));
        assert_eq!(choose(&format!("{}köchin", "x ".repeat(ROUTED_WORDS_MAX)), &agent), None);
    }

    #[test]
    fn a_registration_is_found_by_name_description_and_keywords() {
        let fields =
            r#"{"id":"a","name":"Ann","origin_url":"http://a","description":"Cooks soup.","keywords":["dinner"]}"#;
        let agent = AgentConfig::create(&Json::parse(fields).unwrap(), 1).unwrap();
        assert_eq!(Candidate::of(&agent), candidate("Ann", "Cooks soup.", &["dinner"]));
    }
}
