/** What the API may ask of the daemon, in its own words: the supervisor acts, and view.ts says what is. */
import { deployUnknown } from "../../admin-api/errors.ts";
import type { EventLog } from "../../admin-api/events.ts";
import type { Caller, HoldOptions, MetricsPage, Operations } from "../../admin-api/operations.ts";
import type { DeployQuery, DeployRequest } from "../../admin-api/request-schemas.ts";
import type {
  Deploy,
  DeployList,
  Diagnosis,
  Generation as GenerationBody,
  Health,
  Reload,
  Service as ServiceBody,
  Status,
  Upgrade as UpgradeBody,
} from "../../admin-api/schemas.ts";
import type { Deployment } from "../../deploy/deployment.ts";
import { parseSteps } from "../config/steps.ts";
import { parseDuration } from "../config/values.ts";
import { findDeploy, pageOfDeploys } from "../state/deploy-pages.ts";
import { examineDaemon } from "../doctor/examine.ts";
import { endByHand } from "../service/end-by-hand.ts";
import type { Service } from "../service/service.ts";
import type { Supervisor } from "../supervisor.ts";
import { deployBody, generationBody, serviceBody } from "./view.ts";

const PAGE = 20;

interface Known {
  readonly service: Service;
  readonly deployment: Deployment;
}

export class DaemonOperations implements Operations {
  readonly #supervisor: Supervisor;

  constructor(supervisor: Supervisor) {
    this.#supervisor = supervisor;
  }

  get events(): EventLog {
    return this.#supervisor.events;
  }

  health(): Health {
    return this.#supervisor.health();
  }

  status(): Status {
    return this.#supervisor.status();
  }

  doctor(): Promise<Diagnosis> {
    return examineDaemon(this.#supervisor.parts);
  }

  metrics(): Promise<MetricsPage> {
    return this.#supervisor.metrics();
  }

  reload(requestedBy: string): Promise<Reload> {
    return this.#supervisor.reload(requestedBy);
  }

  upgrade({ name }: Caller): Promise<UpgradeBody> {
    return this.#supervisor.upgrade(name);
  }

  deploy(name: string, request: DeployRequest, caller: Caller): Deploy {
    const service = this.#supervisor.changeable(name);
    const hasPins = service.config.deploy.pin.length > 0;
    return deployBody(
      service.deploy(
        {
          version: request.version,
          strategy: request.strategy,
          bakeMs: request.bake === undefined ? undefined : parseDuration(request.bake),
          steps: request.steps === undefined ? undefined : parseSteps(request.steps, hasPins),
        },
        caller.name,
      ),
    );
  }

  rollback(name: string, caller: Caller): Deploy {
    const deployment = this.#supervisor.changeable(name).rollback(caller.name);
    // Of one that was under way; another one begins with who asked for it.
    if (deployment.wish === "rollback") {
      this.#supervisor.history.append({
        type: "rollback",
        id: deployment.id,
        service: name,
        by: caller.name,
      });
    }
    return deployBody(deployment);
  }

  restart(name: string, caller: Caller): Deploy {
    return deployBody(this.#supervisor.changeable(name).restart(caller.name));
  }

  hold(name: string, { idles }: HoldOptions, caller: Caller): ServiceBody {
    const service = this.#supervisor.changeable(name);
    service.hold({ requestedBy: caller.name, idles });
    return serviceBody(service, this.#supervisor.count(), false);
  }

  resume(name: string, caller: Caller): Deploy {
    return deployBody(this.#supervisor.changeable(name).resume(caller.name));
  }

  scale(name: string, instances: number, caller: Caller): ServiceBody {
    const service = this.#supervisor.changeable(name);
    service.scale(instances, caller.name);
    return serviceBody(service, this.#supervisor.count(), false);
  }

  endGeneration(name: string, number: number, caller: Caller): GenerationBody {
    const generation = endByHand(this.#supervisor.service(name), number, caller.name, Date.now());
    return generationBody(generation, this.#supervisor.count());
  }

  async listDeploys({ service, limit = PAGE, before }: DeployQuery): Promise<DeployList> {
    const query = { service: service ?? null, limit, before: before ?? null };
    const page = await pageOfDeploys(this.#deploys, query);
    // One that has left the configuration has a history all the same.
    if (service !== undefined && page.deploys.length === 0) this.#supervisor.service(service);
    return page;
  }

  async getDeploy(id: string): Promise<Deploy> {
    // It is asked for again and again while someone waits for it: the others' answers are not made for that.
    const known = this.#lookUp(id);
    return known === null ? findDeploy(this.#deploys, id) : deployBody(known.deployment);
  }

  get #deploys(): Parameters<typeof findDeploy>[0] {
    const remembered = this.#supervisor.services.flatMap(({ deploys }) => deploys);
    return {
      remembered: remembered.map((deployment) => deployBody(deployment)),
      history: () => this.#supervisor.history.newestFirst(),
    };
  }

  promote(id: string, caller: Caller): Deploy {
    return this.#ask(id, "promote", caller);
  }

  abort(id: string, caller: Caller): Deploy {
    return this.#ask(id, "abort", caller);
  }

  pause(id: string, caller: Caller): Deploy {
    return this.#ask(id, "pause", caller);
  }

  continueDeploy(id: string, caller: Caller): Deploy {
    return this.#ask(id, "continue", caller);
  }

  #ask(id: string, wish: "promote" | "abort" | "pause" | "continue", caller: Caller): Deploy {
    const deploy = deployBody(this.#find(id).service.ask(id, wish));
    this.#supervisor.history.append({ type: wish, id, service: deploy.service, by: caller.name });
    return deploy;
  }

  #find(id: string): Known {
    const known = this.#lookUp(id);
    if (known === null) throw deployUnknown(id);
    return known;
  }

  /** null: it is not remembered; the history may have it. */
  #lookUp(id: string): Known | null {
    for (const service of this.#supervisor.services) {
      const deployment = service.deploys.find((each) => each.id === id);
      if (deployment !== undefined) return { service, deployment };
    }
    return null;
  }
}
