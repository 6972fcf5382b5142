//! What `/health/live` and `/health/ready` answer (the original had neither).

use super::JSON;
use super::routes::Health;
use crate::protocol::http::Response;
use serde_json::json;

/// All is well, and which version says so: measurements name it.
const OK: &str = concat!(r#"{"status":"ok","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);

/// Live is always so while the process answers; ready is so without troubles, which are named otherwise.
pub fn health(probe: Health, troubles: &[String]) -> Response {
    match probe {
        Health::Ready if !troubles.is_empty() => {
            let body = json!({ "status": "unavailable", "reasons": troubles });
            Response::new(503).with_body(JSON, body.to_string())
        }
        Health::Live | Health::Ready => Response::new(200).with_body(JSON, OK),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_names_what_is_wrong_and_live_does_not_care() {
        let troubles = ["shard 1: a sync failed".to_owned()];
        assert_eq!(health(Health::Live, &troubles).status, 200);
        let response = health(Health::Ready, &troubles);
        assert_eq!(response.status, 503);
        assert_eq!(*response.body, *br#"{"reasons":["shard 1: a sync failed"],"status":"unavailable"}"#);
        let well = health(Health::Ready, &[]);
        assert_eq!(well.status, 200);
        let expected = format!(r#"{{"status":"ok","version":"{}"}}"#, env!("CARGO_PKG_VERSION"));
        assert_eq!(&*well.body, expected.as_bytes());
    }
}
