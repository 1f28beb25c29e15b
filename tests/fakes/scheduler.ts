/** Stands for the scheduler where a test schedules nothing. */
import type { ApiContext } from "../../lib/api/api.ts";

function refuse(): never {
  throw new TypeError("This test schedules nothing");
}

export const NO_SCHEDULER: ApiContext["scheduler"] = {
  schedule: refuse,
  list: refuse,
  cancel: refuse,
  find: refuse,
};
