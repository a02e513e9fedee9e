/** The tag of artifacts; the runtime's own are in `KeptArtifacts`. */
import * as Context from "effect/Context"
import type { ArtifactsService } from "./ArtifactsService.js"

export type { ArtifactPut, ArtifactsService, ArtifactUsage } from "./ArtifactsService.js"

/**
 * Keeps artifacts for principals, over the `ArtifactStore` that the program provides; without one it is not
 * {@link ArtifactsService.available}.
 *
 * @since 0.1.0
 * @category services
 */
export class Artifacts extends Context.Tag("effect-arcp/runtime/Artifacts")<Artifacts, ArtifactsService>() {}
