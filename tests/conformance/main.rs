//! Other people's clients, agents and tests against the real binaries: the npm `phoenix` client, the published example code
//! unmodified (the URL aside), agents written with the AI SDK, our own TypeScript client, curl, and Autobahn's WebSocket cases.
//!
//! Packages are installed by name below the build folder and reused (`packages`). Where a tool cannot be had the test
//! says so loudly and proves nothing, except under `CI=true`, where it fails.

#[path = "../blackbox/harness/mod.rs"]
#[allow(dead_code, unused_imports)] // shared with the black-box tests, which use all of it
mod harness;

mod agent;
mod ai_sdk;
mod assembler;
mod autobahn;
mod console;
mod curl;
mod deploy;
mod docs;
mod hapi;
mod jwt_oracle;
mod nextjs;
mod node;
mod openapi;
mod packages;
mod phoenix_client;
mod pictures;
mod published_code;
mod resume;
mod seed_apis;
mod seed_pages;
mod ts_client;
