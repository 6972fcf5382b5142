//! `fleetlm check` and `fleetlm export`: looking at a data folder without a server.
