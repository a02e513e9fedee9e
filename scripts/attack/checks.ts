/** Every attack, by kind. */
import type { Check } from "./check.js"
import { callers } from "./callers.js"
import { contexts } from "./contexts.js"
import { endings } from "./endings.js"
import { fairness } from "./fairness.js"
import { grants } from "./grants.js"
import { neighbours } from "./neighbours.js"
import { network } from "./network.js"
import { races } from "./races.js"
import { replies } from "./replies.js"
import { specialFiles } from "./specialFiles.js"
import { values } from "./values.js"

/** All of them. */
export const checks: ReadonlyArray<Check> = [
  ...values,
  ...callers,
  ...neighbours,
  ...replies,
  ...contexts,
  ...endings,
  ...races,
  ...specialFiles,
  ...grants,
  ...network,
  ...fairness
]
