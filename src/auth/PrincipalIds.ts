/**
 * What the id of a principal may be (ARCP 1.1 §6.1): one rule for every way to authenticate.
 *
 * Jobs, sessions, artifacts and leases are compared by this text, and operators read it in logs and policies. So two ids that look alike
 * must not be two principals because of characters that are not shown, and no credential may stand for what is an anonymous client's.
 */

import { anonymousPrefix, isAnonymous } from "../protocol/AnonymousIds.js"

/** The longest id, in UTF-16 code units. */
export const maxLength = 1_024

export { anonymousPrefix, isAnonymous }

/**
 * The id as the runtime uses it. An anonymous client's always begins with the prefix: it is never another principal's, and the id alone
 * shows that the principal is anonymous.
 */
export const qualified = (id: string, anonymous: boolean): string =>
  anonymous && !isAnonymous(id) ? `${anonymousPrefix}${id}` : id

/**
 * Control and format characters, lone surrogates, line separators, what fonts show as nothing, and white space other than the plain
 * space. U+2800 is a letter to Unicode, and an empty one to readers.
 */
const unseen = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]|(?! )\p{Zs}/u

/**
 * Why an id cannot be a principal's, as the end of a sentence whose subject is the id; undefined if it can. `anonymous`: whether nobody
 * vouched for the principal. Compatibility forms and case do not hide the prefix of anonymous clients.
 */
export const problemOf = (id: string, anonymous: boolean): string | undefined =>
  id.length > maxLength
    ? `is longer than ${maxLength} UTF-16 code units`
    : id.trim() === ""
      ? "is blank"
      : id.trim() !== id
        ? "begins or ends with white space"
        : unseen.test(id)
          ? "has control or invisible characters"
          : !anonymous && id.normalize("NFKC").toLowerCase().startsWith(anonymousPrefix)
            ? `begins with "${anonymousPrefix}", which is for anonymous clients`
            : undefined
