//! Where an agent is called: its `origin_url` and `webhook_path` made into one URL.
//!
//! Whether that address may be called is for whoever calls it; here it only has to be an `http` or `https` URL.

use url::Url;

/// The path of an agent that names none.
const DEFAULT_PATH: &str = "/webhook";

/// Why an agent has no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookUrlError {
    /// `origin_url` is not a URL.
    #[error("origin_url is not a URL: {0}")]
    Origin(url::ParseError),
    /// `webhook_path` begins like a URL and is none.
    #[error("webhook_path is not a URL: {0}")]
    Path(url::ParseError),
    /// Webhooks are called over `http` and `https`.
    #[error("webhooks are called over http and https, not {0}")]
    Scheme(String),
}

/// The URL at which an agent is called (contract of the original, 4.4).
///
/// A path is appended to the one of `origin_url`, with or without a slash at its front; query and fragment are the path's, the
/// origin's own are dropped. A whole URL in `webhook_path` wins. Without a path it is `/webhook`.
///
/// # Errors
/// [`WebhookUrlError`].
pub fn webhook_url(origin_url: &str, webhook_path: &str) -> Result<String, WebhookUrlError> {
    let path = webhook_path.trim();
    let url = if is_whole(path) {
        Url::parse(path).map_err(WebhookUrlError::Path)?
    } else {
        below(Url::parse(origin_url.trim()).map_err(WebhookUrlError::Origin)?, path)?
    };
    checked(url).map(String::from)
}

/// Whether it names a scheme and a host. A colon alone does not make a URL: `v1/run:stream` is a path.
fn is_whole(path: &str) -> bool {
    path.split_once("://").is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}

fn below(origin: Url, path: &str) -> Result<Url, WebhookUrlError> {
    let mut url = checked(origin)?;
    let (rest, fragment) = cut(path, '#');
    let (path, query) = cut(rest, '?');
    let path = if path.is_empty() { DEFAULT_PATH } else { path };
    let base = url.path().trim_end_matches('/');
    url.set_path(&format!("{base}/{}", path.trim_start_matches('/')));
    url.set_query(query);
    url.set_fragment(fragment);
    Ok(url)
}

fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(front, back)| (front, Some(back)))
}

fn checked(url: Url) -> Result<Url, WebhookUrlError> {
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => Err(WebhookUrlError::Scheme(scheme.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_appended_to_the_origins() {
        for (origin, path, expected) in [
            ("https://h/base", "/webhook", "https://h/base/webhook"),
            ("https://h/base/nested", "callback", "https://h/base/nested/callback"),
            ("https://h/base/nested/", "/callback", "https://h/base/nested/callback"),
            ("http://h:4000", "/webhook", "http://h:4000/webhook"),
            ("http://h", "", "http://h/webhook"),
            ("http://h/base", " ", "http://h/base/webhook"),
            ("http://h/base", "/", "http://h/base/"),
            ("http://h/base", "v1/agents:run", "http://h/base/v1/agents:run"),
            ("http://h/base", "/go?to=http://x/", "http://h/base/go?to=http://x/"),
            ("http://h/base", "//evil.example/x", "http://h/base/evil.example/x"),
            ("http://user:pass@h/base", "x", "http://user:pass@h/base/x"),
        ] {
            assert_eq!(webhook_url(origin, path).as_deref(), Ok(expected), "{origin} {path}");
        }
    }

    #[test]
    fn query_and_fragment_are_the_paths() {
        for (path, expected) in [
            ("hook?a=b&c=%20d#e", "http://h/base/hook?a=b&c=%20d#e"),
            ("?a=b", "http://h/base/webhook?a=b"),
            ("#e", "http://h/base/webhook#e"),
            ("hook", "http://h/base/hook"),
        ] {
            assert_eq!(webhook_url("http://h/base?own=1#own", path).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn a_whole_url_wins() {
        for (path, expected) in [
            ("https://other.example/hook?a#b", "https://other.example/hook?a#b"),
            ("HTTP://Other.example", "http://other.example/"),
        ] {
            assert_eq!(webhook_url("http://h/base", path).as_deref(), Ok(expected));
            assert_eq!(webhook_url("not a url", path).as_deref(), Ok(expected), "the origin is not looked at");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_by_name() {
        assert!(matches!(webhook_url("", "/x"), Err(WebhookUrlError::Origin(_))));
        assert!(matches!(webhook_url("h/base", "/x"), Err(WebhookUrlError::Origin(_))));
        assert!(matches!(webhook_url("http://h", "http://"), Err(WebhookUrlError::Path(_))));
        assert_eq!(webhook_url("ftp://h", "/x"), Err(WebhookUrlError::Scheme("ftp".to_owned())));
        assert_eq!(webhook_url("http://h", "file:///etc/passwd"), Err(WebhookUrlError::Scheme("file".to_owned())));
        assert_eq!(webhook_url("mailto:a", "/x"), Err(WebhookUrlError::Scheme("mailto".to_owned())));
    }
}
