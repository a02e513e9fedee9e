/** Counts by key, such as the jobs of each principal: what has no entry is 0. */

/** Adds to the count of a key; a key whose count is 0 is deleted. */
export const count = (map: Map<string, number>, key: string, by: number): void => {
  const next = (map.get(key) ?? 0) + by
  if (next === 0) map.delete(key)
  else map.set(key, next)
}
