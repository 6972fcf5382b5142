/** Where things lie: the package, and the repository around it. */

import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The package's folder; the compiled tests lie in `build/test`. */
export const PACKAGE = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

/** A file of the repository. `FLEETLM_REPOSITORY` says where it is when the package was copied. */
export const repository = (path: string) => join(process.env["FLEETLM_REPOSITORY"] ?? resolve(PACKAGE, "../.."), path);
