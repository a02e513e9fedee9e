/** What an agent's author imports: `Agent.make`, the `Job` service, and the registry that hosts both. */
export * as Agent from "./Agent.js"
export * from "./AgentRegistry.js"
export * from "./Job.js"
