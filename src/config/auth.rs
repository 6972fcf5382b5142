//! What an operator may set about who is let in, and how secrets are read: from files and the environment, never from a flag, which
//! every user of the machine can read.

use clap::{Args, Subcommand, ValueEnum};
use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use crate::api::auth::forwarded;
use ipnet::IpNet;

/// The variable that holds the secret of tokens where there is no file for it.
const JWT_SECRET_VARIABLE: &str = "FLEETLM_JWT_SECRET";

/// Whether requests need a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AuthMode {
    /// No: everybody may do everything.
    Open,
    /// Yes, but for health and for the routes that give tokens.
    Required,
}

/// Flags of `serve` about who is let in.
#[derive(Clone, Debug, Args)]
pub struct AuthConfig {
    /// Whether requests need an API key or a token. See docs/auth.md.
    #[arg(long, env = "FLEETLM_AUTH", value_enum, default_value = "open")]
    pub auth: AuthMode,
    /// Serve without authentication on an address that others can reach. For servers that a proxy or a network keeps strangers from.
    #[arg(long, env = "FLEETLM_INSECURE_OPEN")]
    pub insecure_open: bool,
    /// The secret that signs and verifies HS256 tokens, at least 32 bytes; FLEETLM_JWT_SECRET holds it otherwise. Read again on SIGHUP.
    #[arg(long, env = "FLEETLM_JWT_SECRET_FILE", value_name = "FILE")]
    pub jwt_secret_file: Option<PathBuf>,
    /// Public keys (a JWK Set) that verify RS256, ES256 and EdDSA tokens: a file, read again on SIGHUP, or an https address, fetched every
    /// ten minutes.
    #[arg(long, env = "FLEETLM_JWKS", value_name = "FILE|URL")]
    pub jwks: Option<String>,
    /// What tokens must have in `aud`. Without it, tokens that have an audience are refused.
    #[arg(long, env = "FLEETLM_JWT_AUDIENCE", value_name = "TEXT")]
    pub jwt_audience: Option<String>,
    /// What tokens must have as `iss`.
    #[arg(long, env = "FLEETLM_JWT_ISSUER", value_name = "TEXT")]
    pub jwt_issuer: Option<String>,
    /// A file with the API key of an administrator, who makes and revokes the others. Read again on SIGHUP.
    #[arg(long, env = "FLEETLM_ADMIN_KEY_FILE", value_name = "FILE")]
    pub admin_key_file: Option<PathBuf>,
    /// Origin of web pages that may connect, or `*`; may be given several times. By default any with --auth required or --insecure-open, else
    /// those of the server's own host and of this machine.
    #[arg(long, env = "FLEETLM_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub allow_origin: Vec<String>,
    /// Name by which clients reach this server, or `*`; may be given several times. In open mode requests to other names than these, localhost,
    /// names without a dot and addresses are refused, lest a web page give this machine a name of its own.
    #[arg(long, env = "FLEETLM_ALLOW_HOST", value_name = "HOST", value_delimiter = ',')]
    pub allow_host: Vec<String>,
    /// Requests a minute of one key or user. More are answered with 429.
    #[arg(long, env = "FLEETLM_RATE_LIMIT_PRINCIPAL", value_name = "COUNT")]
    pub rate_limit_principal: Option<NonZeroU32>,
    /// Requests a minute of one address. More are answered with 429.
    #[arg(long, env = "FLEETLM_RATE_LIMIT_ADDRESS", value_name = "COUNT")]
    pub rate_limit_address: Option<NonZeroU32>,
    /// Refused tokens, and requests for tokens, a minute of one address. More are answered with 429.
    #[arg(long, env = "FLEETLM_RATE_LIMIT_AUTH", value_name = "COUNT")]
    pub rate_limit_auth: Option<NonZeroU32>,
    /// Address or network of proxies whose X-Forwarded-For says where a request comes from, for the two rates above; may be given several
    /// times. Anybody else's is passed over.
    #[arg(long, env = "FLEETLM_TRUST_FORWARDED_FOR", value_name = "NETWORK", value_delimiter = ',', value_parser = forwarded::network)]
    pub trust_forwarded_for: Vec<IpNet>,
}

impl AuthConfig {
    /// Whether the environment holds a secret of HS256 tokens.
    pub fn has_jwt_secret(&self) -> bool {
        std::env::var_os(JWT_SECRET_VARIABLE).is_some_and(|text| !text.is_empty())
    }

    /// The secret of HS256 tokens, if the operator has set one.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn jwt_secret(&self) -> std::io::Result<Option<Secret>> {
        match &self.jwt_secret_file {
            Some(path) => Secret::of_file(path).map(Some),
            None => Ok(std::env::var(JWT_SECRET_VARIABLE).ok().filter(|text| !text.is_empty()).map(Secret)),
        }
    }
}

/// What `fleetlm keys` does.
#[derive(Clone, Debug, Subcommand)]
pub enum KeysTask {
    /// Make a key and print it with its secret, which is shown this once.
    Create {
        /// Whose keys.
        #[command(flatten)]
        place: KeysPlace,
        /// What the key is to be.
        #[command(flatten)]
        fields: KeyFields,
    },
    /// Print all keys, a JSON object a line.
    List {
        /// Whose keys.
        #[command(flatten)]
        place: KeysPlace,
    },
    /// Let a key open nothing any more.
    Revoke {
        /// Whose keys.
        #[command(flatten)]
        place: KeysPlace,
        /// The key's id: the 26 characters behind `flk_`.
        id: String,
    },
}

impl KeysTask {
    /// Whose keys it is about.
    pub fn place(&self) -> &KeysPlace {
        match self {
            Self::Create { place, .. } | Self::List { place } | Self::Revoke { place, .. } => place,
        }
    }
}

/// Where keys are: in a data folder, or on a server that runs.
#[derive(Clone, Debug, Args)]
pub struct KeysPlace {
    /// The data folder, while no server uses it.
    #[arg(long, env = "FLEETLM_DATA_DIR", default_value = "./data", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// A running server in its place: an https address, or one of this machine.
    #[arg(long, value_name = "URL", requires = "admin_key_file")]
    pub url: Option<String>,
    /// With --url: a file with an administrator's key.
    #[arg(long, env = "FLEETLM_ADMIN_KEY_FILE", value_name = "FILE")]
    pub admin_key_file: Option<PathBuf>,
    /// With --url: certificates (PEM) to trust beside the system's.
    #[arg(long, value_name = "FILE", requires = "url")]
    pub ca: Option<PathBuf>,
}

/// A key that is to be.
#[derive(Clone, Debug, Args)]
pub struct KeyFields {
    /// What people call it.
    #[arg(long)]
    pub name: String,
    /// What it may do: all, read, agent:ID or team:ID.
    #[arg(long, default_value = "all")]
    pub scope: String,
    /// The namespace it belongs to.
    #[arg(long, default_value = "default")]
    pub namespace: String,
    /// The user it acts as when a request names none.
    #[arg(long, default_value = "default")]
    pub user: String,
    /// It also makes and revokes keys.
    #[arg(long)]
    pub admin: bool,
}

/// A text that is never shown: not by `Debug`, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The content of a file without the line ends behind it, which editors leave there.
    ///
    /// # Errors
    /// When it cannot be read, or is not UTF-8.
    pub fn of_file(path: &Path) -> std::io::Result<Self> {
        std::fs::read_to_string(path).map(|text| Self(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// What it is.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_without_its_line_end_and_shows_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hush hush\r\n").unwrap();
        let secret = Secret::of_file(file.path()).unwrap();
        assert_eq!(secret.reveal(), "hush hush");
        assert!(!format!("{secret:?}").contains("hush"));
    }
}
