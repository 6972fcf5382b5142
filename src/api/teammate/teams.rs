//! Teams of AI Teammate (seed 002): a message that all members of a team answer, and who is in which team.
//!
//! A team is an agent whose registration names members, so everything here is a view of the directory of agents. What changes the members
//! of a team reads it first: of two changes at once the later one stands.
//! Not here: how a team works together (`agent::team`).

use crate::api::ask::{Answered, Outcome, Row};
use crate::api::ask_plan::{AskPlan, AskRender, Begin};
use crate::api::chat::{self, Actor, Place, Plan, Question};
use crate::api::dialect::Dialect;
use crate::api::error::{ApiError, Kind};
use crate::api::flow::{Answers, Flow, Next, To};
use crate::api::params::Params;
use crate::api::table::routes;
use crate::api::view::{self, AskEvent};
use crate::api::{Context, JSON, Target};
use crate::protocol::http::{Request, Response};
use crate::session::{Json, MessageId, TeamMode};
use crate::shard::{AgentCommand, Asked, AskedTeam, Command, Refusal, Reply, Requires};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A method on a team. Ids are as they stand in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint<'a> {
    /// `POST /teams/:id/chat`.
    Chat(&'a str),
    /// `GET /teams`.
    List,
    /// `POST /teams`.
    Create,
    /// `GET /teams/:id`.
    Read(&'a str),
    /// `PUT /teams/:id`: changes what the body names.
    Update(&'a str),
    /// `DELETE /teams/:id`.
    Delete(&'a str),
    /// `POST /teams/:id/agents`.
    AddNamed(&'a str),
    /// `POST /teams/:id/agents/:agent_id`.
    Add(&'a str, &'a str),
    /// `DELETE /teams/:id/agents/:agent_id`.
    Remove(&'a str, &'a str),
}

routes! {
    /// What `method` on a path is, if anything: one below `/api`, or one without it.
    pub fn endpoint<'a>(Teammate below "/api" or "") -> Endpoint<'a>;

    POST "teams"/id/"chat", Write => Endpoint::Chat(id);
    GET "teams", Read => Endpoint::List;
    POST "teams", Manage => Endpoint::Create;
    GET "teams"/id, Read => Endpoint::Read(id);
    PUT "teams"/id, Manage => Endpoint::Update(id);
    DELETE "teams"/id, Manage => Endpoint::Delete(id);
    POST "teams"/id/"agents", Manage => Endpoint::AddNamed(id);
    POST "teams"/id/"agents"/agent_id, Manage => Endpoint::Add(id, agent_id);
    DELETE "teams"/id/"agents"/agent_id, Manage => Endpoint::Remove(id, agent_id);
}

impl Endpoint<'_> {
    /// What the request comes to.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn plan(self, request: &Request, params: &Params<'_>, context: &Context) -> Result<Plan, ApiError> {
        let change = |id: &str, change| Ok(Plan::Flow(Box::new(Managing::change(id, change))));
        match self {
            Self::Chat(id) => ask(id, request, params, context),
            Self::List => Ok(Plan::Flow(Box::new(Managing::show(Shown::All)))),
            Self::Read(id) => Ok(Plan::Flow(Box::new(Managing::show(Shown::One(id.to_owned()))))),
            Self::Create => create(params, context),
            Self::Update(id) => change(id, Change::Fields(fields(params)?)),
            Self::Delete(id) => change(id, Change::Delete),
            Self::AddNamed(id) => {
                let agent_id = chat::optional_text(params, "agent_id")?.ok_or_else(|| missing("agent_id"))?;
                change(id, Change::Add(agent_id))
            }
            Self::Add(id, agent_id) => change(id, Change::Add(agent_id.to_owned())),
            Self::Remove(id, agent_id) => change(id, Change::Remove(agent_id.to_owned())),
        }
    }
}

fn missing(field: &str) -> ApiError {
    ApiError::about(Kind::TextInvalid, "{field}", field)
}

/// A mode by the name that a client gives it.
fn mode(params: &Params<'_>, field: &str) -> Result<Option<TeamMode>, ApiError> {
    let named = chat::optional_text(params, field).map_err(|_| Kind::ModeInvalid)?;
    named.map(|name| TeamMode::parse(&name).ok_or_else(|| Kind::ModeInvalid.into())).transpose()
}

fn ask(id: &str, request: &Request, params: &Params<'_>, context: &Context) -> Result<Plan, ApiError> {
    let key = request.headers.first("idempotency-key");
    let question = Question::of(params, key, Actor::of(request)?)?.with_context(params)?;
    let mode = mode(params, "mode")?;
    let place = match chat::optional_text(params, "conversation_id")? {
        Some(session) => Place::Session(chat::session(&session)?, Some(id)),
        None => Place::Main(id),
    };
    let mut append = question.addressed(place, context)?;
    if let Some(mode) = mode {
        append.metadata = Json::from_valid(&json!({ "team_mode": mode.as_str() }).to_string());
    }
    append.terms.get_or_insert_default().answer_from = Requires::Team;
    let reader = Some(append.author.id().to_owned());
    let render = Box::new(TeamAnswer { mode, team: None });
    Ok(Plan::Ask(Box::new(AskPlan { append, reader, render })))
}

/// The answers of a team, by member.
struct TeamAnswer {
    /// What the request names.
    mode: Option<TeamMode>,
    /// Who was asked.
    team: Option<Box<AskedTeam>>,
}

#[derive(Serialize)]
struct Whole {
    responses: Vec<OneResponse>,
    summary: String,
    mode: String,
    auto_selected: bool,
    conversation_id: String,
}

#[derive(Serialize)]
struct OneResponse {
    agent_id: String,
    agent_name: String,
    content: String,
}

impl AskRender for TeamAnswer {
    fn begin(&mut self, asked: &Asked) -> Begin {
        self.team.clone_from(&asked.team);
        Begin::Sync
    }

    fn tell(&mut self, _: &AskEvent, _: &mut Vec<u8>) {}

    fn end(&mut self, _: &Outcome) -> Vec<Vec<u8>> {
        Vec::new()
    }

    fn respond(&mut self, outcome: &Outcome) -> Response {
        // Somebody has answered, though the last of them, or the summary, may have broken off.
        let spoken = match outcome {
            Outcome::Failed { partial, .. } if has_members(partial) => Ok(&**partial),
            Outcome::Refused(Refusal::AgentNotFound) => Err(Kind::TeamNotFound.into()),
            outcome => chat::answered(outcome),
        };
        match spoken {
            Ok(answered) => {
                let text = serde_json::to_string(&self.whole(answered)).expect("texts always have a JSON form");
                Response::new(200).with_body(JSON, text)
            }
            Err(error) => error.respond(Dialect::Teammate),
        }
    }
}

fn has_members(answered: &Answered) -> bool {
    answered.messages.iter().any(|row| row.sender_id != answered.agent.id)
}

impl TeamAnswer {
    fn whole(&self, answered: &Answered) -> Whole {
        let team_mode = self.team.as_ref().map_or(TeamMode::Auto, |team| team.mode);
        let asked = self.mode.unwrap_or(team_mode);
        let is_summary = |row: &&Row| row.sender_id == answered.agent.id;
        let used = answered.messages.iter().find_map(|row| {
            let message = view::Message::read(&row.json)?;
            message.note("mode").map(|mode| mode.into_owned())
        });
        Whole {
            responses: self.responses(answered),
            summary: answered.messages.iter().filter(is_summary).map(Row::text).collect::<Vec<_>>().join("\n\n"),
            mode: used.unwrap_or_else(|| asked.as_str().to_owned()),
            auto_selected: asked == TeamMode::Auto,
            conversation_id: answered.session.to_string(),
        }
    }

    /// One for each member that has said something, in the order of the team; who has left it meanwhile stands behind.
    fn responses(&self, answered: &Answered) -> Vec<OneResponse> {
        let known = self.team.as_ref().map_or(&[][..], |team| &team.members);
        let mut responses: Vec<OneResponse> = known
            .iter()
            .map(|member| OneResponse {
                agent_id: member.id.clone(),
                agent_name: member.name.clone(),
                content: String::new(),
            })
            .collect();
        let mut has_spoken = vec![false; responses.len()];
        for row in answered.messages.iter().filter(|row| row.sender_id != answered.agent.id) {
            let place = responses.iter().position(|response| response.agent_id == row.sender_id);
            let place = place.unwrap_or_else(|| {
                let (agent_id, agent_name) = (row.sender_id.clone(), row.sender_id.clone());
                responses.push(OneResponse { agent_id, agent_name, content: String::new() });
                has_spoken.push(false);
                responses.len() - 1
            });
            let content = &mut responses[place].content;
            if std::mem::replace(&mut has_spoken[place], true) {
                content.push_str("\n\n");
            }
            content.push_str(&row.text());
        }
        responses.into_iter().zip(has_spoken).filter(|(_, has)| *has).map(|(response, _)| response).collect()
    }
}

/// The fields of a registration that a body names.
fn fields(params: &Params<'_>) -> Result<Map<String, Value>, ApiError> {
    let mut fields = Map::new();
    if let Some(name) = chat::optional_text(params, "name")? {
        fields.insert("name".to_owned(), name.into());
    }
    if params.has("description") {
        let description = match params.raw("description").filter(|raw| raw.get() != "null") {
            Some(_) => Some(params.text("description").ok_or_else(|| missing("description"))?),
            None => None, // it is taken away
        };
        fields.insert("description".to_owned(), description.into());
    }
    let mut team = Map::new();
    if let Some(mode) = mode(params, "chat_mode")? {
        team.insert("mode".to_owned(), mode.as_str().into());
    }
    if let Some(members) = params.raw("agents").filter(|raw| raw.get() != "null") {
        let members: Vec<String> = serde_json::from_str(members.get()).map_err(|_| missing("agents"))?;
        team.insert("members".to_owned(), members.into());
    }
    if !team.is_empty() {
        fields.insert("team".to_owned(), team.into());
    }
    Ok(fields)
}

fn create(params: &Params<'_>, context: &Context) -> Result<Plan, ApiError> {
    let mut fields = fields(params)?;
    if !fields.contains_key("name") {
        return Err(missing("name"));
    }
    let id = chat::optional_text(params, "id")?;
    let id = id.unwrap_or_else(|| MessageId::from_parts(context.now.unix_us / 1000, context.random).to_string());
    fields.insert("id".to_owned(), id.clone().into());
    fields.entry("team").or_insert_with(|| json!({}));
    let command = AgentCommand::Create { fields: object(fields) };
    Ok(Plan::Flow(Box::new(Managing::act(id, command))))
}

fn object(fields: Map<String, Value>) -> Json {
    Json::from_valid(&Value::Object(fields).to_string())
}

/// An agent as its registration shows it.
#[derive(Deserialize)]
struct Registered {
    id: String,
    name: String,
    status: String,
    description: Option<String>,
    inserted_at: String,
    team: Option<Spec>,
}

#[derive(Deserialize)]
struct Spec {
    members: Vec<String>,
    mode: String,
}

impl Registered {
    fn is_team(&self) -> bool {
        self.team.is_some() && self.status == "enabled"
    }

    fn render(&self, agents: &[Self]) -> Option<Value> {
        let team = self.team.as_ref()?;
        let member = |id: &String| {
            let known = agents.iter().find(|agent| agent.id == *id);
            json!({ "id": id, "name": known.map_or(id, |agent| &agent.name) })
        };
        let created = self.inserted_at.get(..19).map_or_else(|| self.inserted_at.clone(), |time| format!("{time}Z"));
        Some(json!({
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "chat_mode": team.mode,
            "agents": team.members.iter().map(member).collect::<Vec<_>>(),
            "created_at": created,
        }))
    }
}

/// What is to become of a team.
#[derive(Clone, Debug)]
enum Change {
    Fields(Map<String, Value>),
    Delete,
    Add(String),
    Remove(String),
}

/// What is shown at the end.
#[derive(Clone, Debug)]
enum Shown {
    All,
    One(String),
    Deleted(String),
}

/// A request about teams: look, change, show.
#[derive(Debug)]
struct Managing {
    step: Step,
    shown: Shown,
}

#[derive(Debug)]
enum Step {
    /// The agents are asked for, of which this one is to be changed so.
    Look(String, Change),
    /// They come.
    Looked(String, Change),
    /// This changes it.
    Act(AgentCommand),
    /// It has.
    Acted,
    /// The agents are asked for, to be shown.
    Show,
    /// They come.
    Shown,
}

impl Managing {
    fn show(shown: Shown) -> Self {
        Self { step: Step::Show, shown }
    }

    fn act(id: String, command: AgentCommand) -> Self {
        Self { step: Step::Act(command), shown: Shown::One(id) }
    }

    fn change(id: &str, change: Change) -> Self {
        let shown = if matches!(change, Change::Delete) { Shown::Deleted(id.into()) } else { Shown::One(id.into()) };
        Self { step: Step::Look(id.to_owned(), change), shown }
    }

    fn take(&mut self, reply: Option<Result<Reply, Refusal>>) -> Result<Next, ApiError> {
        let list = || AgentCommand::List { enabled: None };
        let (next, command) = match std::mem::replace(&mut self.step, Step::Shown) {
            Step::Look(id, change) => (Step::Looked(id, change), list()),
            Step::Looked(id, change) => (Step::Acted, command(&agents(reply)?, id, change)?),
            Step::Act(command) => (Step::Acted, command),
            Step::Acted => {
                reply.ok_or(Kind::Internal)??;
                match &self.shown {
                    Shown::Deleted(id) => return Ok(respond(&json!({ "ok": true, "id": id }))),
                    _ => (Step::Shown, list()),
                }
            }
            Step::Show => (Step::Shown, list()),
            Step::Shown => return self.show_all(&agents(reply)?),
        };
        self.step = next;
        Ok(Next::Ask(vec![(To::One(Target::Directory), Command::Agents(command))]))
    }

    fn show_all(&self, agents: &[Registered]) -> Result<Next, ApiError> {
        let teams = agents.iter().filter(|agent| agent.is_team());
        match &self.shown {
            Shown::One(id) => {
                let team = teams.into_iter().find(|team| team.id == *id).and_then(|team| team.render(agents));
                Ok(respond(&team.ok_or(Kind::TeamNotFound)?))
            }
            _ => Ok(respond(&teams.filter_map(|team| team.render(agents)).collect::<Vec<_>>().into())),
        }
    }
}

impl Flow for Managing {
    fn step(&mut self, mut answers: Answers) -> Next {
        let reply = answers.pop().and_then(|mut answer| answer.pop());
        self.take(reply).unwrap_or_else(|error| Next::Respond(error.respond(Dialect::Teammate)))
    }
}

fn respond(body: &Value) -> Next {
    Next::Respond(Response::new(200).with_body(JSON, body.to_string()))
}

fn agents(reply: Option<Result<Reply, Refusal>>) -> Result<Vec<Registered>, ApiError> {
    let Reply::Agents { agents } = reply.ok_or(Kind::Internal)?? else { return Err(Kind::Internal.into()) };
    let read = |json: &Json| serde_json::from_str(json.as_str()).map_err(|_| Kind::Internal.into());
    agents.iter().map(read).collect()
}

/// What brings about the change of a team that is there.
fn command(agents: &[Registered], id: String, change: Change) -> Result<AgentCommand, ApiError> {
    let team = agents.iter().find(|agent| agent.id == id && agent.is_team());
    let members = team.and_then(|team| team.team.as_ref()).map(|team| &team.members).ok_or(Kind::TeamNotFound)?;
    let members: Vec<&String> = match &change {
        Change::Fields(fields) => return Ok(AgentCommand::Update { id, fields: object(fields.clone()) }),
        Change::Delete => return Ok(AgentCommand::Disable { id }),
        Change::Add(agent) if !agents.iter().any(|known| known.id == *agent) && agent != crate::shard::ECHO_AGENT => {
            return Err(Kind::AgentNotFound.into());
        }
        Change::Add(agent) if members.contains(agent) => members.iter().collect(),
        Change::Add(agent) => members.iter().chain([agent]).collect(),
        Change::Remove(agent) if !members.contains(agent) => return Err(Kind::AgentNotFound.into()),
        Change::Remove(agent) => members.iter().filter(|member| *member != agent).collect(),
    };
    let fields = Json::from_valid(&json!({ "team": { "members": members } }).to_string());
    Ok(AgentCommand::Update { id, fields })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{MessageParts, SessionId};
    use crate::shard::{AgentName, Standing};

    fn name(id: &str) -> AgentName {
        AgentName { id: id.to_owned(), name: id.to_uppercase() }
    }

    fn row(seq: u64, sender_id: &str, text: &str) -> Row {
        let (content, metadata) = (json!({ "text": text }).to_string(), json!({ "mode": "debate" }).to_string());
        let json = MessageParts {
            id: MessageId::from_parts(1, 2),
            session: SessionId::from_parts(1, 2),
            seq,
            sender_id,
            kind: "assistant",
            content: &Json::from_valid(&content),
            metadata: &Json::from_valid(&metadata),
            inserted_at_us: 5,
        };
        Row::of(json.render()).unwrap()
    }

    fn answered(messages: Vec<Row>) -> Box<Answered> {
        let session = SessionId::from_parts(1, 2);
        let (input_tokens, output_tokens, duration_ms) = (0, 0, 0);
        Box::new(Answered {
            session,
            user_seq: 1,
            agent: name("team"),
            messages,
            input_tokens,
            output_tokens,
            duration_ms,
        })
    }

    /// Status and body of an outcome for a team of a, b and c.
    fn told(outcome: &Outcome) -> (u16, Value) {
        let team = AskedTeam { mode: TeamMode::Auto, members: vec![name("a"), name("b"), name("c")] };
        let asked = Asked {
            session: SessionId::from_parts(1, 2),
            seq: 1,
            json: None,
            replayed: false,
            agent: name("team"),
            team: Some(Box::new(team)),
            standing: Standing::Waiting { run: None },
        };
        let mut render = TeamAnswer { mode: None, team: None };
        assert!(matches!(render.begin(&asked), Begin::Sync));
        let response = render.respond(outcome);
        (response.status, serde_json::from_slice(&response.body).unwrap())
    }

    #[test]
    fn members_stand_in_the_order_of_the_team_each_with_all_that_it_has_said() {
        let rows = [(2, "c", "C1"), (3, "a", "A1"), (4, "gone", "G"), (5, "c", "C2"), (6, "team", "sum")];
        let (status, body) = told(&Outcome::Answered(answered(rows.map(|(n, who, text)| row(n, who, text)).into())));
        let one =
            |id: &str, name: &str, content: &str| json!({ "agent_id": id, "agent_name": name, "content": content });
        assert_eq!(status, 200);
        assert_eq!(
            body["responses"],
            json!([one("a", "A", "A1"), one("c", "C", "C1\n\nC2"), one("gone", "gone", "G")])
        );
        assert_eq!(
            (&body["summary"], &body["mode"], &body["auto_selected"]),
            (&json!("sum"), &json!("debate"), &json!(true))
        );
    }

    #[test]
    fn a_failure_is_one_only_if_nobody_has_said_anything() {
        let failed = |partial| Outcome::Failed { reason: "status".into(), detail: String::new(), partial };
        assert_eq!(told(&failed(answered(Vec::new()))).0, 502);
        assert_eq!(told(&failed(answered(vec![row(2, "a", "A")]))).0, 200);
        assert_eq!(told(&Outcome::Stopped(answered(vec![row(2, "a", "A")]))).0, 409);
        let unknown = told(&Outcome::Refused(Refusal::AgentNotFound));
        assert_eq!(unknown, (404, json!({ "detail": "Team not found" })));
        assert_eq!(told(&Outcome::Refused(Refusal::TeamEmpty)).0, 409);
    }

    #[test]
    fn a_change_is_made_of_the_team_as_it_stands() {
        let agents: Vec<Registered> = serde_json::from_value(json!([
            {"id": "t", "name": "T", "status": "enabled", "inserted_at": "", "team": {"members": ["a"], "mode": "auto"}},
            {"id": "u", "name": "U", "status": "disabled", "inserted_at": "", "team": {"members": [], "mode": "auto"}},
            {"id": "a", "name": "A", "status": "enabled", "inserted_at": ""},
            {"id": "b", "name": "B", "status": "enabled", "inserted_at": ""},
        ]))
        .unwrap();
        let members = |change| match command(&agents, "t".into(), change).unwrap() {
            AgentCommand::Update { fields, .. } => fields.as_str().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(members(Change::Add("b".into())), r#"{"team":{"members":["a","b"]}}"#);
        assert_eq!(members(Change::Add("a".into())), r#"{"team":{"members":["a"]}}"#);
        assert_eq!(members(Change::Add("echo".into())), r#"{"team":{"members":["a","echo"]}}"#);
        assert_eq!(members(Change::Remove("a".into())), r#"{"team":{"members":[]}}"#);
        let refused = |id: &str, change| command(&agents, id.into(), change).unwrap_err().kind();
        assert_eq!(refused("t", Change::Add("x".into())), Kind::AgentNotFound);
        assert_eq!(refused("t", Change::Remove("b".into())), Kind::AgentNotFound);
        for id in ["u", "a", "x"] {
            assert_eq!(refused(id, Change::Delete), Kind::TeamNotFound);
        }
    }
}
