//! The registration of an agent: its fields, their defaults and rules, how it changes, how clients read it and how it
//! stands in the log (contract 1.3).
//!
//! Invariants: an `AgentConfig` that exists has passed every rule; a change gives a new value and leaves the old one as
//! it was. Secrets go in and never come out: clients read header names with [`REDACTED`] values, and an update that
//! carries the mark keeps the stored value, so that a client may write back what it read.
//! Not here: whether an id is taken (the directory knows), calling the agent, caching.

use super::agent_profile::AgentProfile;
use super::cast::{Cast, Least};
use super::{Json, rfc3339};
use crate::limits::{AGENT_SECRET_BYTES_MAX, AGENT_URL_BYTES_MAX, NAME_BYTES_MAX};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Fields that broke a rule, each with its messages, in the words of the original.
pub type FieldErrors = BTreeMap<String, Vec<String>>;

/// What stands in place of a header's value wherever clients read it.
pub const REDACTED: &str = "[redacted]";

const WEBHOOK_PATH_DEFAULT: &str = "/webhook";
const HISTORY_LIMIT_DEFAULT: u32 = 50;
const TIMEOUT_MS_DEFAULT: u32 = 30_000;
const DEBOUNCE_MS_DEFAULT: u32 = 500;
const TOKEN_BUDGET_DEFAULT: u32 = 50_000;
const TRIGGER_RATIO_DEFAULT: f64 = 0.7;
const DEBOUNCE_MAX_WAIT_MS_DEFAULT: u32 = 5_000;
const TOTAL_TIMEOUT_MS_DEFAULT: u32 = 600_000;

/// Which part of a session an agent is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HistoryMode {
    /// The latest `message_history_limit` messages.
    #[default]
    Tail,
    /// All messages.
    Entire,
    /// The last message only.
    Last,
}

/// Whether an agent is called at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentStatus {
    /// It answers.
    #[default]
    Enabled,
    /// It stays registered and is not called.
    Disabled,
}

/// What becomes of an answer that the end of the process has cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnCrash {
    /// What was produced is kept as a message with `termination: "abort"` and `recovered: true`.
    #[default]
    Abort,
    /// It is dropped, and the agent is called again.
    Retry,
}

/// A registered agent. Made by [`AgentConfig::create`], changed by [`AgentConfig::update`].
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentConfig {
    id: String,
    name: String,
    /// Base of the webhook's address.
    pub origin_url: String,
    /// Path below `origin_url`, or a whole URL that replaces it.
    pub webhook_path: String,
    /// Which part of the session a request carries.
    pub message_history_mode: HistoryMode,
    /// Messages of a request in mode `tail`, at least 1.
    pub message_history_limit: u32,
    /// Milliseconds, at least 1.
    pub timeout_ms: u32,
    /// Sent with every request. Values are secrets: see [`REDACTED`].
    pub headers: BTreeMap<String, String>,
    status: AgentStatus,
    /// Milliseconds of quiet before the agent is called; 0 calls at once.
    pub debounce_window_ms: u32,
    /// Whether long sessions are summarised.
    pub compaction_enabled: bool,
    /// Tokens of a request at the most, at least 1.
    pub compaction_token_budget: u32,
    /// Part of the budget that triggers compaction, above 0 and at most 1.
    pub compaction_trigger_ratio: f64,
    /// Who summarises.
    pub compaction_webhook_url: Option<String>,
    /// Milliseconds after the first unanswered message at which the agent is called however often its user goes on.
    pub debounce_max_wait_ms: u32,
    /// Milliseconds of one call from its beginning to the end of the answer; `timeout_ms` bounds each wait within.
    pub total_timeout_ms: u32,
    /// What becomes of a half-written answer after a crash.
    pub on_crash: OnCrash,
    /// Signs every call. Shown as [`REDACTED`].
    pub secret: Option<String>,
    /// Microseconds since 1970.
    pub inserted_at_us: u64,
    /// Microseconds since 1970; moves only when a field changes.
    pub updated_at_us: u64,
    /// Whose agent it is; blank is the default. Not the caller's to choose or to read: it follows from who calls.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// What it is for.
    #[serde(flatten)]
    pub profile: AgentProfile,
}

impl Default for AgentConfig {
    /// The values of fields that a caller or an older note leaves out. Not a valid registration: it has no id.
    fn default() -> Self {
        Self {
            id: String::new(),
            name: String::new(),
            origin_url: String::new(),
            webhook_path: WEBHOOK_PATH_DEFAULT.into(),
            message_history_mode: HistoryMode::default(),
            message_history_limit: HISTORY_LIMIT_DEFAULT,
            timeout_ms: TIMEOUT_MS_DEFAULT,
            headers: BTreeMap::new(),
            status: AgentStatus::default(),
            debounce_window_ms: DEBOUNCE_MS_DEFAULT,
            compaction_enabled: false,
            compaction_token_budget: TOKEN_BUDGET_DEFAULT,
            compaction_trigger_ratio: TRIGGER_RATIO_DEFAULT,
            compaction_webhook_url: None,
            debounce_max_wait_ms: DEBOUNCE_MAX_WAIT_MS_DEFAULT,
            total_timeout_ms: TOTAL_TIMEOUT_MS_DEFAULT,
            on_crash: OnCrash::default(),
            secret: None,
            inserted_at_us: 0,
            updated_at_us: 0,
            namespace: String::new(),
            profile: AgentProfile::default(),
        }
    }
}

/// Shows what clients may see; header values stay out of logs too.
impl std::fmt::Debug for AgentConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AgentConfig({})", self.render().as_str())
    }
}

impl AgentConfig {
    /// A new registration from the caller's object, at `now_us` (microseconds since 1970).
    ///
    /// # Errors
    /// Every field that breaks a rule, with its message.
    pub fn create(fields: &Json, now_us: u64) -> Result<Self, FieldErrors> {
        let blank = Self { inserted_at_us: now_us, updated_at_us: now_us, ..Self::default() };
        blank.cast(fields)
    }

    /// This registration with the fields changed that the caller's object names. `updated_at` moves only if one did.
    /// A changed id is a rename; the caller checks that it is free.
    ///
    /// # Errors
    /// Every field that breaks a rule, with its message.
    pub fn update(&self, fields: &Json, now_us: u64) -> Result<Self, FieldErrors> {
        Ok(self.clone().cast(fields)?.stamped(self, now_us))
    }

    /// This registration with status `disabled`.
    pub fn disable(&self, now_us: u64) -> Self {
        Self { status: AgentStatus::Disabled, ..self.clone() }.stamped(self, now_us)
    }

    /// The built-in agent: it is called at once and answers in `chunks_per_s` pieces a second.
    pub fn echo(id: &str, chunks_per_s: u32) -> Self {
        Self {
            id: id.to_owned(),
            name: "Echo (built in)".to_owned(),
            origin_url: format!("builtin:echo?chunks_per_s={chunks_per_s}"),
            webhook_path: String::new(),
            message_history_mode: HistoryMode::Last,
            debounce_window_ms: 0,
            ..Self::default()
        }
    }

    /// The id, as the caller chose it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The id where agents of all namespaces stand: see [`super::Namespace::scoped`].
    pub fn scoped_id(&self) -> std::borrow::Cow<'_, str> {
        super::scoped(&self.namespace, &self.id)
    }

    /// The name; lists are sorted by it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the agent is to be called.
    pub fn enabled(&self) -> bool {
        self.status == AgentStatus::Enabled
    }

    /// The agent as clients read it: the original's eleven keys, the five that it stored and never showed, then ours, and
    /// last what there is of a profile.
    pub fn render(&self) -> Json {
        let headers: BTreeMap<&str, &str> = self.headers.keys().map(|name| (name.as_str(), REDACTED)).collect();
        let shown = Rendered {
            id: &self.id,
            name: &self.name,
            origin_url: &self.origin_url,
            webhook_path: &self.webhook_path,
            message_history_mode: self.message_history_mode,
            message_history_limit: self.message_history_limit,
            timeout_ms: self.timeout_ms,
            headers,
            status: self.status,
            inserted_at: rfc3339(self.inserted_at_us),
            updated_at: rfc3339(self.updated_at_us),
            debounce_window_ms: self.debounce_window_ms,
            compaction_enabled: self.compaction_enabled,
            compaction_token_budget: self.compaction_token_budget,
            compaction_trigger_ratio: self.compaction_trigger_ratio,
            compaction_webhook_url: self.compaction_webhook_url.as_deref(),
            debounce_max_wait_ms: self.debounce_max_wait_ms,
            total_timeout_ms: self.total_timeout_ms,
            on_crash: self.on_crash,
            secret: self.secret.as_ref().map(|_| REDACTED),
            profile: &self.profile,
        };
        let text = serde_json::to_string(&shown).expect("strings, numbers and maps with text keys always serialise");
        Json::parse(&text).expect("serde_json writes valid JSON")
    }

    /// The registration as it stands in the log: one JSON object, secrets included.
    pub fn to_note(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings, numbers and maps with text keys always serialise")
    }

    /// Reads [`to_note`](Self::to_note). Fields that an older version did not write have their defaults, unknown ones
    /// are passed over, so that notes of every version open.
    ///
    /// # Errors
    /// What serde_json says of bytes that are no such object.
    pub fn from_note(note: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(note)
    }

    fn stamped(mut self, before: &Self, now_us: u64) -> Self {
        if self != *before {
            self.updated_at_us = now_us.max(before.updated_at_us);
        }
        self
    }

    fn cast(mut self, fields: &Json) -> Result<Self, FieldErrors> {
        let mut cast = Cast::new(fields)?;
        cast.text("id", &mut self.id, "", NAME_BYTES_MAX);
        cast.text("name", &mut self.name, "", NAME_BYTES_MAX);
        self.profile.cast(&mut cast);
        self.cast_origin(&mut cast);
        cast.text("webhook_path", &mut self.webhook_path, WEBHOOK_PATH_DEFAULT, AGENT_URL_BYTES_MAX);
        cast.word("message_history_mode", &mut self.message_history_mode, HistoryMode::parse);
        cast.integer("message_history_limit", &mut self.message_history_limit, HISTORY_LIMIT_DEFAULT, Least::One);
        cast.integer("timeout_ms", &mut self.timeout_ms, TIMEOUT_MS_DEFAULT, Least::One);
        cast.headers("headers", &mut self.headers);
        cast.word("status", &mut self.status, AgentStatus::parse);
        cast.integer("debounce_window_ms", &mut self.debounce_window_ms, DEBOUNCE_MS_DEFAULT, Least::Zero);
        cast.flag("compaction_enabled", &mut self.compaction_enabled);
        cast.integer("compaction_token_budget", &mut self.compaction_token_budget, TOKEN_BUDGET_DEFAULT, Least::One);
        cast.ratio("compaction_trigger_ratio", &mut self.compaction_trigger_ratio, TRIGGER_RATIO_DEFAULT);
        cast.optional_text("compaction_webhook_url", &mut self.compaction_webhook_url, AGENT_URL_BYTES_MAX);
        cast.integer("debounce_max_wait_ms", &mut self.debounce_max_wait_ms, DEBOUNCE_MAX_WAIT_MS_DEFAULT, Least::Zero);
        cast.integer("total_timeout_ms", &mut self.total_timeout_ms, TOTAL_TIMEOUT_MS_DEFAULT, Least::One);
        cast.word("on_crash", &mut self.on_crash, OnCrash::parse);
        cast.secret("secret", &mut self.secret, AGENT_SECRET_BYTES_MAX);
        if self.profile.team.as_ref().is_some_and(|team| team.names(&self.id)) {
            cast.fail("team", "should not name itself");
        }
        if cast.errors.is_empty() { Ok(self) } else { Err(cast.errors) }
    }

    /// An agent needs an address, a team has none: its members are called.
    fn cast_origin(&mut self, cast: &mut Cast) {
        if self.profile.team.is_none() {
            return cast.text("origin_url", &mut self.origin_url, "", AGENT_URL_BYTES_MAX);
        }
        let mut given = None;
        cast.optional_text("origin_url", &mut given, AGENT_URL_BYTES_MAX);
        if given.is_some() {
            cast.fail("origin_url", "should be blank for a team");
        }
        self.origin_url.clear();
    }
}

impl HistoryMode {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "tail" => Some(Self::Tail),
            "entire" => Some(Self::Entire),
            "last" => Some(Self::Last),
            _ => None,
        }
    }
}

impl AgentStatus {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "enabled" => Some(Self::Enabled),
            "disabled" => Some(Self::Disabled),
            _ => None,
        }
    }
}

impl OnCrash {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "abort" => Some(Self::Abort),
            "retry" => Some(Self::Retry),
            _ => None,
        }
    }
}

#[derive(Serialize)]
struct Rendered<'a> {
    id: &'a str,
    name: &'a str,
    origin_url: &'a str,
    webhook_path: &'a str,
    message_history_mode: HistoryMode,
    message_history_limit: u32,
    timeout_ms: u32,
    headers: BTreeMap<&'a str, &'a str>,
    status: AgentStatus,
    inserted_at: String,
    updated_at: String,
    debounce_window_ms: u32,
    compaction_enabled: bool,
    compaction_token_budget: u32,
    compaction_trigger_ratio: f64,
    compaction_webhook_url: Option<&'a str>,
    debounce_max_wait_ms: u32,
    total_timeout_ms: u32,
    on_crash: OnCrash,
    secret: Option<&'a str>,
    #[serde(flatten)]
    profile: &'a AgentProfile,
}

#[cfg(test)]
mod tests {
    use super::super::cast::{BLANK, INVALID};
    use super::*;
    use crate::limits::AGENT_HEADERS_BYTES_MAX;
    use proptest::prelude::*;

    const NOW_US: u64 = 1_761_216_480_123_456;
    const MINIMAL: &str = r#"{"id":"a","name":"A","origin_url":"http://a"}"#;

    fn json(text: &str) -> Json {
        Json::parse(text).unwrap()
    }

    fn minimal() -> AgentConfig {
        AgentConfig::create(&json(MINIMAL), NOW_US).unwrap()
    }

    /// The minimal agent with `extra` fields over it.
    fn with(extra: &str) -> Result<AgentConfig, FieldErrors> {
        minimal().update(&json(extra), NOW_US)
    }

    /// The only message, with its field.
    fn sole_error(result: Result<AgentConfig, FieldErrors>) -> (String, String) {
        let errors = result.expect_err("a rule is broken");
        assert_eq!(errors.len(), 1, "{errors:?}");
        let (field, messages) = errors.into_iter().next().unwrap();
        assert_eq!(messages.len(), 1, "{field}: {messages:?}");
        (field, messages[0].clone())
    }

    #[test]
    fn a_minimal_agent_has_the_defaults_of_the_contract() {
        assert_eq!(
            minimal().render().as_str(),
            r#"{"id":"a","name":"A","origin_url":"http://a","webhook_path":"/webhook","message_history_mode":"tail","message_history_limit":50,"timeout_ms":30000,"headers":{},"status":"enabled","inserted_at":"2025-10-23T10:48:00.123456Z","updated_at":"2025-10-23T10:48:00.123456Z","debounce_window_ms":500,"compaction_enabled":false,"compaction_token_budget":50000,"compaction_trigger_ratio":0.7,"compaction_webhook_url":null,"debounce_max_wait_ms":5000,"total_timeout_ms":600000,"on_crash":"abort","secret":null}"#
        );
    }

    #[test]
    fn every_field_can_be_given_and_numbers_and_flags_may_be_texts() {
        let agent = with(
            r#"{"name":"B","origin_url":"https://b","webhook_path":"https://c/hook","message_history_mode":"last",
                "message_history_limit":"100","timeout_ms":1,"headers":{"x-key":"s","x-n":7,"x-b":true},"status":"disabled",
                "debounce_window_ms":0,"compaction_enabled":"1","compaction_token_budget":9,"compaction_trigger_ratio":"1",
                "compaction_webhook_url":"http://d","unknown":{"ignored":[null]}}"#,
        )
        .unwrap();
        assert_eq!((agent.id(), agent.name(), agent.enabled()), ("a", "B", false));
        assert_eq!((agent.message_history_limit, agent.timeout_ms, agent.debounce_window_ms), (100, 1, 0));
        assert_eq!(agent.message_history_mode, HistoryMode::Last);
        assert_eq!(agent.webhook_path, "https://c/hook");
        assert_eq!((agent.compaction_enabled, agent.compaction_token_budget), (true, 9));
        assert_eq!(agent.compaction_trigger_ratio, 1.0);
        assert_eq!(agent.compaction_webhook_url.as_deref(), Some("http://d"));
        let headers: Vec<_> = agent.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(headers, [("x-b", "true"), ("x-key", "s"), ("x-n", "7")]);
    }

    #[test]
    fn all_three_required_fields_are_named_at_once() {
        for fields in ["{}", r#"{"id":" ","name":"","origin_url":null}"#] {
            let errors = AgentConfig::create(&json(fields), NOW_US).unwrap_err();
            assert_eq!(errors.keys().collect::<Vec<_>>(), ["id", "name", "origin_url"], "{fields}");
            assert!(errors.values().all(|messages| messages == &[BLANK]), "{errors:?}");
        }
    }

    #[test]
    fn a_broken_rule_is_named_by_field_in_the_words_of_the_original() {
        let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(NAME_BYTES_MAX + 1));
        for (fields, field, message) in [
            (r#"{"message_history_mode":"all"}"#, "message_history_mode", INVALID),
            (r#"{"message_history_mode":null}"#, "message_history_mode", BLANK),
            (r#"{"message_history_mode":1}"#, "message_history_mode", INVALID),
            (r#"{"status":"off"}"#, "status", INVALID),
            (r#"{"status":null}"#, "status", BLANK),
            (r#"{"message_history_limit":0}"#, "message_history_limit", "must be greater than 0"),
            (r#"{"message_history_limit":null}"#, "message_history_limit", BLANK),
            (r#"{"message_history_limit":1.5}"#, "message_history_limit", INVALID),
            (r#"{"message_history_limit":"5x"}"#, "message_history_limit", INVALID),
            (r#"{"timeout_ms":-1}"#, "timeout_ms", "must be greater than 0"),
            (r#"{"timeout_ms":null}"#, "timeout_ms", BLANK),
            (r#"{"timeout_ms":18446744073709551615}"#, "timeout_ms", "must be less than or equal to 2147483647"),
            (r#"{"debounce_window_ms":-1}"#, "debounce_window_ms", "must be greater than or equal to 0"),
            (r#"{"compaction_token_budget":"0"}"#, "compaction_token_budget", "must be greater than 0"),
            (r#"{"compaction_trigger_ratio":0}"#, "compaction_trigger_ratio", "must be greater than 0"),
            (r#"{"compaction_trigger_ratio":1.01}"#, "compaction_trigger_ratio", "must be less than or equal to 1"),
            (r#"{"compaction_trigger_ratio":"nan"}"#, "compaction_trigger_ratio", INVALID),
            (r#"{"compaction_enabled":1}"#, "compaction_enabled", INVALID),
            (r#"{"compaction_enabled":null}"#, "compaction_enabled", BLANK),
            (r#"{"compaction_webhook_url":[]}"#, "compaction_webhook_url", INVALID),
            (r#"{"headers":[]}"#, "headers", INVALID),
            (r#"{"headers":null}"#, "headers", INVALID),
            (r#"{"headers":{"x":{}}}"#, "headers", INVALID),
            (r#"{"headers":{"x":null}}"#, "headers", INVALID),
            (r#"{"headers":{"x y":"1"}}"#, "headers", INVALID),
            (r#"{"headers":{"x":"1\r\nhost: evil"}}"#, "headers", INVALID),
            (r#"{"headers":{"x":"[redacted]"}}"#, "headers", INVALID),
            (r#"{"webhook_path":null}"#, "webhook_path", BLANK),
            (r#"{"name":5}"#, "name", INVALID),
            (r#"{"name":"  "}"#, "name", BLANK),
            (long.as_str(), "id", "should be at most 255 byte(s)"),
            (r#"{"name":"\ud800"}"#, "agent", INVALID),
            (r#"[]"#, "agent", INVALID),
        ] {
            assert_eq!(sole_error(with(fields)), (field.into(), message.into()), "{fields}");
        }
    }

    #[test]
    fn a_blank_text_falls_back_to_the_default() {
        let changed = with(
            r#"{"webhook_path":"/x","message_history_mode":"last","message_history_limit":7,"status":"disabled",
                "headers":{"a":"b"},"compaction_enabled":true,"compaction_webhook_url":"http://d","compaction_trigger_ratio":0.5}"#,
        )
        .unwrap();
        let back = changed
            .update(
                &json(
                    r#"{"webhook_path":"","message_history_mode":" ","message_history_limit":"","status":"","headers":"",
                        "compaction_enabled":"","compaction_webhook_url":"","compaction_trigger_ratio":""}"#,
                ),
                NOW_US,
            )
            .unwrap();
        assert_eq!(back, minimal());
        assert_eq!(
            changed.update(&json(r#"{"compaction_webhook_url":null,"debounce_max_wait_ms":5000,"total_timeout_ms":600000,"on_crash":"abort","secret":null}"#), 0).unwrap().compaction_webhook_url,
            None
        );
    }

    #[test]
    fn an_update_keeps_what_it_does_not_name_and_moves_its_time_only_for_a_change() {
        let before = minimal();
        let after = before.update(&json(r#"{"id":"z","debounce_window_ms":1000}"#), NOW_US + 5).unwrap();
        assert_eq!((after.id(), after.name(), after.debounce_window_ms), ("z", "A", 1000));
        assert_eq!((after.inserted_at_us, after.updated_at_us), (NOW_US, NOW_US + 5));
        assert_eq!(before.update(&json(MINIMAL), NOW_US + 5).unwrap(), before);
        assert_eq!(after.update(&json(r#"{"name":"C"}"#), 1).unwrap().updated_at_us, NOW_US + 5, "no way back");
    }

    #[test]
    fn a_disabled_agent_stays_and_can_be_enabled_again() {
        let disabled = minimal().disable(NOW_US + 1);
        assert!(!disabled.enabled());
        assert_eq!(disabled.disable(NOW_US + 2), disabled);
        assert!(disabled.update(&json(r#"{"status":"enabled"}"#), NOW_US + 3).unwrap().enabled());
    }

    #[test]
    fn a_header_value_is_never_shown_and_survives_a_client_that_writes_back_what_it_read() {
        let agent = with(r#"{"headers":{"Authorization":"Bearer s3cret","x-a":"1"}}"#).unwrap();
        let shown = agent.render();
        assert!(shown.as_str().contains(r#""headers":{"Authorization":"[redacted]","x-a":"[redacted]"}"#));
        assert!(!format!("{agent:?}").contains("s3cret"));
        assert_eq!(agent.update(&shown, NOW_US).unwrap(), agent);
        let other = agent.update(&json(r#"{"headers":{"authorization":"[redacted]"}}"#), NOW_US).unwrap();
        assert_eq!(other.headers, BTreeMap::from([("authorization".into(), "Bearer s3cret".into())]));
    }

    #[test]
    fn header_sizes_are_bounded() {
        let fields = format!(r#"{{"headers":{{"x":"{}"}}}}"#, "v".repeat(AGENT_HEADERS_BYTES_MAX));
        assert_eq!(sole_error(with(&fields)), ("headers".into(), "should be at most 8192 byte(s)".into()));
    }

    #[test]
    fn a_note_of_another_version_opens_with_defaults() {
        let note = br#"{"id":"a","name":"A","origin_url":"http://a","inserted_at_us":9,"of_tomorrow":[1]}"#;
        let agent = AgentConfig::from_note(note).unwrap();
        assert_eq!(agent, AgentConfig { inserted_at_us: 9, updated_at_us: 0, ..minimal() });
        assert!(AgentConfig::from_note(b"{").is_err());
    }

    proptest! {
        #[test]
        fn a_note_reads_back_as_the_same_agent(
            name in "\\PC{1,40}[a-z]", limit in 1..=i32::MAX, debounce in 0..=i32::MAX, percent in 1..=100u8, value in "[ -~]{0,40}",
        ) {
            let fields = serde_json::json!({
                "id": name, "name": name, "origin_url": name, "message_history_limit": limit, "debounce_window_ms": debounce,
                "compaction_trigger_ratio": f64::from(percent) / 100.0, "headers": {"x-secret": value},
            });
            prop_assume!(value != REDACTED);
            let agent = AgentConfig::create(&json(&fields.to_string()), NOW_US).unwrap();
            prop_assert_eq!(AgentConfig::from_note(&agent.to_note()).unwrap(), agent);
        }

        #[test]
        fn no_object_whatever_brings_it_down(value in "(null|-?[0-9]{1,25}|\"[a-z ]{0,9}\"|\\[\\]|\\{\\}|true|1e400)", field in 0..14usize) {
            let field = ["id", "name", "origin_url", "webhook_path", "message_history_mode", "message_history_limit", "timeout_ms",
                "headers", "status", "debounce_window_ms", "compaction_enabled", "compaction_token_budget",
                "compaction_trigger_ratio", "compaction_webhook_url"][field];
            if let Ok(fields) = Json::parse(&format!("{{\"{field}\":{value}}}")) {
                match minimal().update(&fields, NOW_US) {
                    Ok(agent) => prop_assert_eq!(AgentConfig::from_note(&agent.to_note()).unwrap(), agent),
                    Err(errors) => prop_assert_eq!(errors.len(), 1),
                }
            }
        }
    }
}
