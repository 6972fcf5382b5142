//! Agent registration over HTTP: the behaviour contract's 1.3 and its checklist 8.1 and 8.2.

use crate::harness::rest::{keys, list};
use crate::harness::{Answer, Server, Value, json, unique};

const KEYS: [&str; 11] = [
    "id",
    "name",
    "origin_url",
    "webhook_path",
    "message_history_mode",
    "message_history_limit",
    "timeout_ms",
    "headers",
    "status",
    "inserted_at",
    "updated_at",
];

fn create(server: &Server, agent: Value) -> Answer {
    server.post("/api/agents", &json!({ "agent": agent }))
}

fn update(server: &Server, id: &str, agent: Value) -> Answer {
    server.put(&format!("/api/agents/{id}"), &json!({ "agent": agent }))
}

/// A registered agent with the defaults.
fn registered(server: &Server) -> String {
    let id = unique("agent");
    create(server, json!({"id": id, "name": "An agent", "origin_url": "http://agent.test"})).expect(201);
    id
}

fn read(server: &Server, id: &str) -> Value {
    server.get(&format!("/api/agents/{id}")).expect(200)["agent"].clone()
}

/// The messages that a refused creation gives for a field when a valid agent carries this value in it.
fn refused(server: &Server, field: &str, value: Value) -> Vec<Value> {
    let mut agent = json!({"id": unique("agent"), "name": "An agent", "origin_url": "http://agent.test"});
    agent[field] = value;
    list(&create(server, agent).expect(422)["errors"], field)
}

#[test]
fn create_with_all_fields_stores_them_and_status_defaults_to_enabled() {
    let server = Server::shared();
    let id = unique("agent");
    let fields = json!({
        "id": id, "name": "Full", "origin_url": "https://agent.test/base", "webhook_path": "/hook",
        "message_history_mode": "entire", "message_history_limit": 100, "timeout_ms": 1234,
        "headers": {"x-api-key": "k"}, "debounce_window_ms": 100,
    });
    let created = create(&server, fields.clone()).expect(201)["agent"].clone();
    for field in ["id", "name", "origin_url", "webhook_path", "message_history_mode", "message_history_limit"] {
        assert_eq!(created[field], fields[field], "{field}");
    }
    assert_eq!(created["timeout_ms"], 1234);
    assert_eq!(keys(&created["headers"]), ["x-api-key"]);
    assert_eq!(created["status"], "enabled");
    assert_eq!(read(&server, &id), created);
}

#[test]
fn the_values_of_an_agents_headers_are_kept_and_never_shown() {
    let server = Server::shared();
    let id = unique("agent");
    let secret = "sk-very-secret";
    let agent = json!({"id": id, "name": "A", "origin_url": "http://a.test", "headers": {"authorization": secret}});
    let path = format!("/api/agents/{id}");
    let answers = [
        create(&server, agent),
        server.get(&path),
        server.get("/api/agents"),
        update(&server, &id, json!({"name": "B"})),
        server.delete(&path),
    ];
    for answer in answers {
        assert!(answer.status < 300 && !answer.text().contains(secret), "{}", answer.text());
        assert!(answer.text().contains("authorization"));
    }
}

#[test]
fn create_with_the_required_fields_only_fills_the_defaults() {
    let server = Server::shared();
    let id = unique("agent");
    let agent = create(&server, json!({"id": id, "name": "Small", "origin_url": "http://a.test"})).expect(201);
    let agent = &agent["agent"];
    assert_eq!(agent["webhook_path"], "/webhook");
    assert_eq!(agent["message_history_mode"], "tail");
    assert_eq!(agent["message_history_limit"], 50);
    assert_eq!(agent["timeout_ms"], 30_000);
    assert_eq!(agent["headers"], json!({}));
    assert_eq!(agent["status"], "enabled");
    assert_eq!(agent["debounce_window_ms"], 500);
    for key in KEYS {
        assert!(keys(agent).contains(&key), "{key} is in {agent}");
    }
}

#[test]
fn id_name_and_origin_url_are_each_required() {
    let server = Server::shared();
    for field in ["id", "name", "origin_url"] {
        for blank in [json!(null), json!(""), json!("   ")] {
            assert_eq!(refused(&server, field, blank), ["can't be blank"], "{field}");
        }
    }
    let errors = create(&server, json!({"name": "No id, no url"})).expect(422)["errors"].clone();
    assert_eq!(errors["id"], json!(["can't be blank"]));
    assert_eq!(errors["origin_url"], json!(["can't be blank"]));
    assert_eq!(errors.get("name"), None);
}

#[test]
fn each_field_refuses_what_breaks_its_rule_with_the_contracts_words() {
    let server = Server::shared();
    let rules = [
        ("message_history_mode", json!("newest"), "is invalid"),
        ("message_history_mode", json!(5), "is invalid"),
        ("message_history_limit", json!(0), "must be greater than 0"),
        ("message_history_limit", json!(-1), "must be greater than 0"),
        ("message_history_limit", json!("many"), "is invalid"),
        ("timeout_ms", json!(0), "must be greater than 0"),
        ("timeout_ms", json!({}), "is invalid"),
        ("headers", json!("x: y"), "is invalid"),
        ("headers", json!([1]), "is invalid"),
        ("status", json!("paused"), "is invalid"),
        ("debounce_window_ms", json!(-1), "must be greater than or equal to 0"),
        ("compaction_enabled", json!("perhaps"), "is invalid"),
        ("compaction_token_budget", json!(0), "must be greater than 0"),
        ("compaction_trigger_ratio", json!(0), "must be greater than 0"),
        ("compaction_trigger_ratio", json!(1.5), "must be less than or equal to 1"),
        ("webhook_path", json!(null), "can't be blank"),
        ("name", json!(7), "is invalid"),
        ("origin_url", json!(["http://a.test"]), "is invalid"),
    ];
    for (field, value, message) in rules {
        assert_eq!(refused(&server, field, value.clone()), [message], "{field} = {value}");
    }
}

#[test]
fn numbers_and_booleans_may_come_as_strings_and_unknown_fields_are_ignored() {
    let server = Server::shared();
    let id = unique("agent");
    let agent = json!({
        "id": id, "name": "Lenient", "origin_url": "http://a.test", "message_history_limit": "7", "timeout_ms": "900",
        "compaction_enabled": "true", "compaction_trigger_ratio": "0.5", "colour": "green", "webhook_path": "",
    });
    let agent = create(&server, agent).expect(201)["agent"].clone();
    assert_eq!(agent["message_history_limit"], 7);
    assert_eq!(agent["timeout_ms"], 900);
    assert_eq!(agent["webhook_path"], "/webhook");
    assert_eq!(agent.get("colour"), None);
}

#[test]
fn null_where_a_value_is_needed_is_refused_and_not_a_failure_of_the_server() {
    let server = Server::shared();
    for field in ["timeout_ms", "status", "message_history_mode", "debounce_window_ms", "message_history_limit"] {
        assert!(!refused(&server, field, Value::Null).is_empty(), "{field}");
    }
}

#[test]
fn a_taken_id_is_refused_even_when_its_agent_is_disabled() {
    let server = Server::shared();
    let id = registered(&server);
    assert_eq!(refused(&server, "id", json!(id)), ["has already been taken"]);
    server.delete(&format!("/api/agents/{id}")).expect(200);
    assert_eq!(refused(&server, "id", json!(id)), ["has already been taken"]);
}

#[test]
fn every_history_mode_and_a_debounce_from_zero_are_accepted() {
    let server = Server::shared();
    for mode in ["tail", "entire", "last"] {
        let id = unique("agent");
        let agent = json!({"id": id, "name": mode, "origin_url": "http://a.test", "message_history_mode": mode,
            "message_history_limit": 100, "debounce_window_ms": 0});
        let agent = create(&server, agent).expect(201)["agent"].clone();
        assert_eq!(agent["message_history_mode"], mode);
        assert_eq!(agent["message_history_limit"], 100);
        assert_eq!(agent["debounce_window_ms"], 0);
    }
}

#[test]
fn reading_an_agent_gives_it_and_an_unknown_one_is_404() {
    let server = Server::shared();
    let id = registered(&server);
    let agent = read(&server, &id);
    assert_eq!(agent["id"], id.as_str());
    assert_eq!(agent["name"], "An agent");
    assert_eq!(agent["origin_url"], "http://agent.test");
    let missing = format!("/api/agents/{}", unique("missing"));
    let not_found = json!({"error": "Agent not found"});
    assert_eq!(server.get(&missing).expect(404), not_found);
    assert_eq!(server.put(&missing, &json!({"agent": {"name": "x"}})).expect(404), not_found);
    assert_eq!(server.delete(&missing).expect(404), not_found);
}

#[test]
fn the_list_is_empty_at_first_then_holds_all_sorted_by_name_and_filters_by_status() {
    let server = Server::start();
    assert_eq!(server.get("/api/agents").expect(200), json!({"agents": []}));
    for name in ["Mike", "Alpha", "Zulu"] {
        create(&server, json!({"id": name.to_lowercase(), "name": name, "origin_url": "http://a.test"})).expect(201);
    }
    server.delete("/api/agents/mike").expect(200);
    let names = |query: &str| {
        let agents = list(&server.get(&format!("/api/agents{query}")).expect(200), "agents");
        agents.iter().map(|agent| agent["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(""), ["Alpha", "Mike", "Zulu"]);
    assert_eq!(names("?status=enabled"), ["Alpha", "Zulu"]);
    assert_eq!(names("?status=disabled"), ["Mike"]);
    assert_eq!(names("?status=whatever"), ["Alpha", "Mike", "Zulu"]);
}

#[test]
fn an_update_changes_the_named_fields_and_leaves_the_others() {
    let server = Server::shared();
    let id = registered(&server);
    let before = read(&server, &id);
    let after = update(&server, &id, json!({"name": "New name", "message_history_mode": "last"})).expect(200);
    let after = &after["agent"];
    assert_eq!(after["id"], id.as_str());
    assert_eq!(after["name"], "New name");
    assert_eq!(after["message_history_mode"], "last");
    for field in ["origin_url", "webhook_path", "message_history_limit", "timeout_ms", "status", "inserted_at"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert_eq!(read(&server, &id), *after);
}

#[test]
fn patch_is_the_same_as_put() {
    let server = Server::shared();
    let id = registered(&server);
    let body = json!({"agent": {"debounce_window_ms": 1000}});
    let agent = server.call("PATCH", &format!("/api/agents/{id}"), &[], Some(&body)).expect(200);
    assert_eq!(agent["agent"]["debounce_window_ms"], 1000);
}

#[test]
fn an_update_is_validated_and_refused_as_a_whole() {
    let server = Server::shared();
    let id = registered(&server);
    let errors = update(&server, &id, json!({"name": "Changed", "message_history_mode": "bad"})).expect(422);
    assert_eq!(errors["errors"]["message_history_mode"], json!(["is invalid"]));
    assert_eq!(read(&server, &id)["name"], "An agent");
}

#[test]
fn deleting_disables_keeps_the_agent_and_an_update_enables_it_again() {
    let server = Server::shared();
    let id = registered(&server);
    let body = server.delete(&format!("/api/agents/{id}")).expect(200);
    assert_eq!(body["message"], "Agent disabled");
    assert_eq!(body["agent"]["status"], "disabled");
    assert_eq!(read(&server, &id)["status"], "disabled");
    update(&server, &id, json!({"status": "enabled"})).expect(200);
    assert_eq!(read(&server, &id)["status"], "enabled");
}

#[test]
fn an_update_can_rename_an_agent() {
    let server = Server::shared();
    let (id, renamed) = (registered(&server), unique("renamed"));
    update(&server, &id, json!({"id": renamed})).expect(200);
    assert_eq!(read(&server, &renamed)["name"], "An agent");
    server.get(&format!("/api/agents/{id}")).expect(404);
}

#[test]
fn a_body_without_the_agent_object_is_400() {
    let server = Server::shared();
    let id = registered(&server);
    let bad = json!({"errors": {"detail": "Bad Request"}});
    assert_eq!(server.post("/api/agents", &json!({"agent": "text"})).expect(400), bad);
    assert_eq!(server.post("/api/agents", &json!({"agent": [1]})).expect(400), bad);
    assert_eq!(server.post("/api/agents", &json!({})).expect(400), bad);
    assert_eq!(server.put(&format!("/api/agents/{id}"), &json!({})).expect(400), bad);
}

#[test]
fn create_list_show_update_delete_in_sequence() {
    let server = Server::start();
    create(&server, json!({"id": "a", "name": "A", "origin_url": "http://a.test"})).expect(201);
    assert_eq!(list(&server.get("/api/agents").expect(200), "agents").len(), 1);
    server.get("/api/agents/a").expect(200);
    update(&server, "a", json!({"name": "B"})).expect(200);
    server.delete("/api/agents/a").expect(200);
}

#[test]
fn registrations_survive_a_crash() {
    let folder = crate::harness::Folder::new();
    let server = Server::on(folder.path(), &Default::default());
    let kept = registered(&server);
    let disabled = registered(&server);
    server.delete(&format!("/api/agents/{disabled}")).expect(200);
    let before = server.get("/api/agents").expect(200);
    server.kill();
    let server = Server::on(folder.path(), &Default::default());
    assert_eq!(server.get("/api/agents").expect(200), before);
    assert_eq!(read(&server, &kept)["status"], "enabled");
}
