/** The official `centrifuge` client as it is published, over every transport it has for a server like this one. */
import { testCentrifugeClient, testRefreshing } from "../../suites/centrifuge_suite.ts";
import { VARIANTS } from "./variants.ts";

for (const variant of VARIANTS) testCentrifugeClient(variant);
testRefreshing(VARIANTS);
