/** What an example proves: each claim is printed as it holds, and ends the example with an error where it does not. */
import { Console, Data, Effect } from "effect"

class ClaimFailed extends Data.TaggedError("ClaimFailed")<{ readonly message: string }> {}

export const claim = (text: string, holds: boolean): Effect.Effect<void, ClaimFailed> =>
  holds ? Console.log(`✓ ${text}`) : Effect.fail(new ClaimFailed({ message: `this did not hold: ${text}` }))
