/** How the ids of principals are told apart that nobody vouched for (ARCP 1.1 §6.1): rooms that know the id alone need no more. */

/** What the ids of anonymous clients begin with. */
export const anonymousPrefix = "anonymous:"

/** Whether an id is an anonymous client's: no other can have it. */
export const isAnonymous = (id: string): boolean => id.startsWith(anonymousPrefix)
