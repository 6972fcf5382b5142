import type { NextConfig } from "next";

/** The example's own folder, whatever lies above it. */
const config: NextConfig = { turbopack: { root: import.meta.dirname }, devIndicators: false };

export default config;
